"""Plugins: found by their metadata alone. `zoo.registry.index` and `zoo.registry.loading` find out what they provide.

A plugin is the first-party manifest, an installed distribution with entry points in the group `zoo`, a file or manifest
given by path, or an object given from Python. Manifests are data; all others answer the hooks of
`zoo.registry.hookspecs`.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import PluginError, UsageError, ZooError, describe, is_device_fault, is_out_of_memory, quote, suggest
from zoo.registry.distributions import EntryPoint, find_entry_points, normalize_name
from zoo.registry.fields import DOTTED, check_name
from zoo.registry.flaws import Flaw
from zoo.registry.global_state import guard_state, keep_generators
from zoo.registry.manifest import MANIFEST_FILE, Manifest, first_party_path
from zoo.registry.source import describe_fault
from zoo.registry.specs import SPEC_CLASSES, AnySpec
from zoo.version import __version__

GROUP = "zoo"
FIRST_PARTY = "zoo"
DISTRIBUTION = "zoo-torch"


@dataclass
class Plugin:
    """A package, file or object that provides entries, and what is known of it so far.

    Fields:
        name: What comes before the `/` in the names of its entries.
        version: Its version, "" for a file or object.
        origin: How it came here, as lists show it.
        source: Where its specs come from: the path of a manifest or Python file, the name of a module, or the object.
        installed: Whether it is an installed package.
        requires: The lines of its metadata that say which versions of zoo it needs.
        problem: Why it is broken, once that is known; a broken plugin provides nothing and stops nothing.
        warnings: What is odd but works, a line for each.
        left_out: What is wrong with entries that it declares and does not provide.
        qualified_only: Whether its entries have no bare names.
        told: Parts of the global state that it changed, each of which was warned of.
        seconds: How long importing its code took.
        fresh: Whether what is known of it was found out since this object was made, not read from the index.
        indexed: Its specs as `zoo.registry.index` keeps them: kind and declared fields.
        specs: Its specs as its code or manifest gave them in this process.
    """

    name: str
    version: str
    origin: str
    source: Path | str | object
    installed: bool = False
    requires: tuple[str, ...] = ()
    problem: ZooError | None = None
    warnings: list[str] = field(default_factory=list)
    left_out: list[Flaw] = field(default_factory=list)
    qualified_only: bool = False
    told: set[str] = field(default_factory=set, repr=False)
    seconds: float | None = None
    fresh: bool = False
    indexed: list[tuple[str, dict[str, Any]]] | None = field(default=None, repr=False)
    specs: list[AnySpec] | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Name and version, as messages show them."""
        return f"{self.name} {self.version}".strip()

    def qualify(self, name: str) -> str:
        """Return `plugin/name`, which means this plugin's entry whatever else is installed."""
        return f"{self.name}/{name}"

    def broken(self, what: str, cause: str, fix: str = "") -> PluginError:
        """Return an error that names this plugin."""
        return PluginError(self.name, self.version, what, cause, fix)

    def explain_left_out(self, flaw: Flaw) -> PluginError:
        """Return an error for an entry that was left out."""
        return self.broken(f"{flaw.kind} {quote(flaw.name)}", flaw.why)

    @contextmanager
    def blamed(self, what: str) -> Iterator[None]:
        """Tell any error of the body, which finds out what this plugin has, as one of it; Ctrl-C passes."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self.broken(what, describe_fault(error)) from error

    def guarded(self, when: str) -> AbstractContextManager[None]:
        """Put back what the body, which runs code of this plugin, changes of the global state, and warn of it."""
        return guard_state(f"plugin {quote(self.label)}", when, self.told)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Guard the import of code of this plugin, which draws no number that anybody else would have drawn."""
        with keep_generators(), self.guarded("while it was imported"):
            yield


@contextmanager
def blame(plugin: str, version: str, what: str) -> Iterator[None]:
    """Tell any error of the body, which uses what a plugin has, as one of that plugin; even SystemExit.

    Errors in zoo's own words, Ctrl-C, lack of memory and faults of a device go through.
    """
    try:
        yield
    except (ZooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error) or is_device_fault(error):
            raise
        raise PluginError(plugin, version, what, describe_fault(error)) from error


def find_plugins(paths: Sequence[str | Path] = (), disabled: Iterable[str] = ()) -> list[Plugin]:
    """Return all plugins without importing any: first-party, installed ones, then files given by path.

    `paths` come before those of `ZOO_PLUGINS`; `disabled` adds to `ZOO_DISABLE_PLUGINS`, where `all` means all
    installed ones.

    Raises:
        UsageError: a path does not exist or is neither a `.py` file nor a `.toml` manifest, or `disabled` names a
            plugin that is not there.
    """
    unwanted = set(map(normalize_name, disabled))
    off = unwanted.union(map(normalize_name, re.split(r"[,\s]+", os.environ.get("ZOO_DISABLE_PLUGINS", ""))))
    points = find_entry_points(GROUP)
    environment = [path for path in os.environ.get("ZOO_PLUGINS", "").split(os.pathsep) if path]
    given = [_from_path(path) for path in dict.fromkeys(_make_absolute(path) for path in (*paths, *environment))]
    known = [*map(_choose_name, points), *(plugin.name for plugin in given)]
    for name in unwanted - {"all", *map(normalize_name, known)}:
        raise UsageError(f"no plugin {quote(name)} to leave out", fix=suggest(name, known, "See: zoo plugins"))
    found = [Plugin(FIRST_PARTY, __version__, "zoo itself", first_party_path())]
    if "all" not in off:
        found += [_from_entry_point(point) for point in points if normalize_name(_choose_name(point)) not in off]
    return [*found, *(plugin for plugin in given if normalize_name(plugin.name) not in off)]


def plugin_from_path(path: str | Path) -> Plugin:
    """Return the plugin of a Python file or manifest; raise UsageError where it is none of them."""
    return _from_path(_make_absolute(path))


def is_installed(name: str) -> bool:
    """Tell whether a plugin of that name is installed, left out or not."""
    return any(_choose_name(point) == name for point in find_entry_points(GROUP))


def plugin_from_object(source: object) -> Plugin:
    """Return a plugin for a module or object with hooks; raise UsageError where its name cannot name a plugin."""
    name = getattr(source, "__name__", type(source).__name__).rpartition(".")[2]
    return Plugin(_to_plugin_name(name), "", "given from Python", source)


def plugin_from_specs(name: str, specs: Sequence[AnySpec]) -> Plugin:
    """Return a plugin of exactly these specs; raise UsageError for a name no plugin can have, TypeError for no spec."""
    for spec in specs:
        if not isinstance(spec, tuple(SPEC_CLASSES.values())):
            raise TypeError(f"expected specs, got {type(spec).__name__}")
    return Plugin(_check_plugin_name(name), "", "given from Python", Manifest(tuple(specs)))


def _choose_name(point: EntryPoint) -> str:
    """Return the name of the plugin: that of its distribution, or of the entry point for the catalogues zoo brings."""
    return point.name if point.distribution == DISTRIBUTION else point.distribution


def _from_entry_point(point: EntryPoint) -> Plugin:
    """Return the plugin of an entry point: `"pkg:registry.toml"` is a manifest, `"pkg.hooks"` a module."""
    origin = f"installed: {point.distribution} {point.version}".strip()
    module, _, target = (part.strip() for part in point.value.partition(":"))
    requires = tuple(line for line in point.requires if normalize_name(re.split(r"[^\w.-]", line)[0]) == DISTRIBUTION)
    plugin = Plugin(_choose_name(point), point.version, origin, module, installed=True, requires=requires)
    try:
        _check_plugin_name(plugin.name)
    except UsageError as error:
        plugin.problem = plugin.broken("its name cannot name a plugin", error.why)
        # No other plugin may have the name of zoo's own.
        plugin.name = f"{plugin.name} (installed)" if plugin.name == FIRST_PARTY else plugin.name
        return plugin
    if not re.fullmatch(DOTTED, module) or (target and not re.fullmatch(r"[\w-][\w.-]*\.toml", target)):
        expected = f"expected 'pkg:registry.toml' or 'pkg.hooks', got {point.value!r}"
        plugin.problem = plugin.broken(f"entry point {quote(point.name)}", expected)
    elif target:
        found, why = None, "no such file in the installed package"
        try:
            found = _find_manifest(module, target)
        except Exception as error:  # noqa: BLE001 finders of editable installations are foreign code
            why = describe(error)
        plugin.source = found or module
        plugin.problem = None if found else plugin.broken(f"manifest {quote(point.value)}", why)
    return plugin


def _find_manifest(package: str, name: str) -> Path | None:
    top, *rest = package.split(".")
    spec = importlib.util.find_spec(top)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((path for folder in folders if (path := Path(folder, *rest, name)).is_file()), None)


def _make_absolute(path: str | Path) -> Path:
    try:
        # Unlike resolve(), abspath() keeps links as the user gave them, and takes `..` out so that a file has one path.
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100
    except RuntimeError as error:
        raise UsageError(f"plugin {quote(path)}", describe(error)) from error


def _from_path(path: Path) -> Plugin:
    fix = "Give a Python file or a registry.toml"
    try:
        path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"plugin {quote(path)}: cannot be read", why, fix) from error
    if not path.is_file() or path.suffix not in (".py", ".toml"):
        raise UsageError(f"plugin {quote(path)}: neither a .py file nor a .toml manifest", fix=fix)
    stem = path.parent.name if path.name == MANIFEST_FILE else path.stem
    return Plugin(_to_plugin_name(stem), "", str(path), path)


def _to_plugin_name(text: str) -> str:
    return _check_plugin_name(re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-."))


def _check_plugin_name(name: str) -> str:
    what, fix = f"plugin {quote(name)}: its name cannot name a plugin", "Rename it"
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(what, str(error), fix) from error
    if name == FIRST_PARTY:
        raise UsageError(what, "it is the name of zoo's own", fix)
    return name
