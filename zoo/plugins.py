"""Find plugins, then load them: finding reads metadata only, loading runs a plugin's code in a `try` of its own.

A plugin is the first-party manifest, an installed distribution with entry points in the group `zoo`, a file or manifest
given by path, or an object given from Python. All of them end as pluggy plugins that answer the hooks of
`zoo.hookspecs`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import zoo
from zoo import hookspecs
from zoo.distributions import EntryPoint, find_entry_points, normalize_name
from zoo.errors import ManifestError, PluginError, UsageError, ZooError, closest, describe, quote
from zoo.fields import check_name
from zoo.manifest import FILE_NAME, Manifest, first_party_path, read_manifest
from zoo.specs import SPEC_ATTRIBUTE, SPEC_CLASSES, AnySpec

GROUP = "zoo"
FIRST_PARTY = "zoo"
# More entries than any catalogue has: a hook that never stops yielding is cut off here.
MAX_SPECS = 100_000


@dataclass
class Plugin:
    """A package, file or object that provides entries, as far as it is known.

    `source` says where its specs come from: the path of a manifest or of a Python file, the name of a module, or the
    object itself. `problem` is set when it is broken; a broken plugin provides nothing and stops nothing. `indexed`
    are its specs as another process found them (see `zoo.index`), `specs` those that its code gave in this one.
    """

    name: str
    version: str
    origin: str
    source: Path | str | object
    given: bool = False
    problem: ZooError | None = None
    indexed: list[AnySpec] | None = field(default=None, repr=False)
    specs: list[AnySpec] | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Name and version, as messages show them."""
        return f"{self.name} {self.version}".strip()


def find_plugins(paths: Sequence[str | Path] = (), disabled: Iterable[str] = ()) -> list[Plugin]:
    """Return all plugins without importing any: first-party, installed ones, then files given by path.

    `paths` come before those of `ZOO_PLUGINS`; `disabled` adds to `ZOO_DISABLE_PLUGINS`, where `all` means all
    installed ones.

    Raises:
        UsageError: a path does not exist or is neither a `.py` file nor a `.toml` manifest.
    """
    off = {*disabled, *os.environ.get("ZOO_DISABLE_PLUGINS", "").replace(",", " ").split()}
    off = {normalize_name(name) for name in off}
    found = [Plugin(FIRST_PARTY, zoo.__version__, "zoo itself", first_party_path())]
    if "all" not in off:
        found += [_installed(point) for point in find_entry_points(GROUP) if point.distribution not in off]
    environment = [path for path in os.environ.get("ZOO_PLUGINS", "").split(os.pathsep) if path]
    unique = dict.fromkeys(_absolute(path) for path in (*paths, *environment))
    found += [plugin for path in unique if normalize_name((plugin := _from_path(path)).name) not in off]
    return found


def plugin_from_object(source: object) -> Plugin:
    """Return a plugin for a module or object with hook functions, given from Python.

    Raises:
        UsageError: its name cannot name a plugin.
    """
    name = getattr(source, "__name__", type(source).__name__).rpartition(".")[2]
    return Plugin(_plugin_name(name), "", "given from Python", source, given=True)


def plugin_from_specs(name: str, specs: Sequence[AnySpec]) -> Plugin:
    """Return a plugin that provides exactly these specs.

    Raises:
        UsageError: `name` cannot name a plugin.
        TypeError: one of them is no spec.
    """
    for spec in specs:
        if not isinstance(spec, tuple(SPEC_CLASSES.values())):
            raise TypeError(f"expected specs, got {type(spec).__name__}")
    return Plugin(_check_plugin_name(name), "", "given from Python", Manifest(tuple(specs)), given=True)


def load_specs(plugin: Plugin) -> list[AnySpec]:
    """Return the specs of a plugin, running its code when it has any; once per plugin.

    A plugin that fails is marked with its `problem` and has no specs. Nothing is raised but KeyboardInterrupt.
    """
    if plugin.specs is None:
        if plugin.indexed is not None:
            plugin.problem = None  # what went wrong there is tried here, and may be right by now
        specs: list[AnySpec] = []
        try:
            if plugin.problem is None:
                specs = _call_hooks(plugin, _load(plugin))
        except ZooError as error:
            plugin.problem = error
        plugin.specs = specs
    return plugin.specs


def import_object(reference: str, beside: Path | None = None) -> Any:
    """Return what `"package.module:object"` names; a module that lies `beside` a manifest given by path comes first.

    Raises:
        Exception: whatever the import raises; the caller knows which plugin to name.
    """
    module, _, path = reference.partition(":")
    file = beside.with_name(f"{module}.py") if beside is not None else None
    found = import_file(file) if file is not None and file.is_file() else importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _installed(point: EntryPoint) -> Plugin:
    """Make a plugin of an entry point: `"pkg:registry.toml"` is a manifest, `"pkg.hooks"` a module."""
    origin = f"installed: {point.distribution} {point.version}".strip()
    module, _, target = point.value.partition(":")
    module, target = module.strip(), target.strip()
    plugin = Plugin(point.distribution, point.version, origin, module)
    try:
        _check_plugin_name(point.distribution)
    except UsageError as error:
        plugin.problem = _problem(plugin, "its name cannot name a plugin", error.why)
        # Nothing else may go by the name of zoo's own.
        plugin.name = f"{plugin.name} (installed)" if plugin.name == FIRST_PARTY else plugin.name
        return plugin
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or (
        target and not re.fullmatch(r"[\w-][\w.-]*\.toml", target)
    ):
        plugin.problem = _problem(
            plugin,
            f"entry point {quote(point.name)}",
            f"expected 'pkg:registry.toml' or 'pkg.hooks', got {point.value!r}",
        )
    elif target:
        top, *rest = module.split(".")
        try:
            spec = importlib.util.find_spec(top)
        except Exception as error:  # noqa: BLE001 finders of editable installations are foreign code
            plugin.problem = _problem(plugin, f"package {quote(top)} cannot be found", describe(error))
            return plugin
        folders = list(spec.submodule_search_locations or ()) if spec else []
        candidates = [Path(folder, *rest, target) for folder in folders]
        existing = [path for path in candidates if path.is_file()]
        if existing:
            plugin.source = existing[0]
        else:
            plugin.problem = _problem(plugin, f"manifest {quote(point.value)}", "no such file in the installed package")
    return plugin


def _absolute(path: str | Path) -> Path:
    try:
        return Path(path).expanduser().absolute()
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
    stem = path.parent.name if path.name == FILE_NAME else path.stem
    return Plugin(_plugin_name(stem), "", str(path), path, given=True)


def _plugin_name(text: str) -> str:
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


def _problem(plugin: Plugin, what: str, cause: str) -> PluginError:
    return PluginError(plugin.name, plugin.version, what, cause)


def _load(plugin: Plugin) -> object:
    """Return the object that answers the hooks."""
    source = plugin.source
    if isinstance(source, Path) and source.suffix == ".toml":
        try:
            return read_manifest(source)
        except ManifestError as error:
            if plugin.given or plugin.name == FIRST_PARTY:
                raise
            raise _problem(plugin, "its manifest is not usable", str(error)) from error
    if not isinstance(source, str | Path):
        return source
    try:
        return import_file(source) if isinstance(source, Path) else importlib.import_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _problem(plugin, "importing it failed", describe(error)) from error


def import_file(path: Path) -> ModuleType:
    """Import a Python file under a name of its own, which is in `sys.modules` before the file runs.

    Raises:
        BaseException: whatever the file raises.
    """
    import hashlib

    stem, digest = re.sub(r"[^a-z0-9]", "_", path.stem.lower()), hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"zoo_plugin_{stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _call_hooks(plugin: Plugin, provider: object) -> list[AnySpec]:
    """Call each hook of one plugin and check what it gives; pluggy checks the hooks' names and arguments."""
    import pluggy

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(provider, plugin.name)
        _check_hook_names(manager)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _problem(plugin, "its hooks are not usable", describe(error)) from error
    specs = [spec for kind in hookspecs.HOOKS for spec in _call_hook(plugin, manager, kind)]
    if isinstance(provider, ModuleType):
        specs += _decorated(provider)
    seen = set()
    for spec in specs:
        for name in (spec.name, *spec.aliases):
            if (spec.kind, name) in seen:
                raise _problem(plugin, f"{spec.kind} {quote(name)}", "declared twice")
            seen.add((spec.kind, name))
    return specs


def _check_hook_names(manager: Any) -> None:
    """Refuse functions marked as hooks that are none: a hook that is misspelt would never be called."""
    known = list(hookspecs.HOOKS.values())
    for provider in manager.get_plugins():
        for hook in manager.get_hookcallers(provider) or ():
            if hook.name not in known:
                near = closest(hook.name, known)
                raise ValueError(
                    f"unknown hook {quote(hook.name)}; {f'did you mean {quote(near)}? ' if near else ''}"
                    f"known hooks: {', '.join(known)}"
                )


def _call_hook(plugin: Plugin, manager: Any, kind: str) -> list[AnySpec]:
    hook = hookspecs.HOOKS[kind]
    specs: list[AnySpec] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            for spec in implementation.function():
                if not isinstance(spec, SPEC_CLASSES[kind]):
                    raise TypeError(f"expected {SPEC_CLASSES[kind].__name__} objects, got {type(spec).__name__}")
                specs.append(spec)
                if len(specs) > MAX_SPECS:
                    raise ValueError(f"more than {MAX_SPECS} specs")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _problem(plugin, f"{hook}() failed", describe(error)) from error
    return specs


def _decorated(module: ModuleType) -> list[AnySpec]:
    """Return the specs that decorators attached to objects of this very module, in the order of definition."""
    # getattr_static: a module may hold objects that do anything when an attribute is asked for.
    marked = [value for value in vars(module).values() if inspect.getattr_static(value, SPEC_ATTRIBUTE, None)]
    own = [value for value in marked if getattr(value, "__module__", None) == module.__name__]
    unique = {id(value): value for value in own if SPEC_ATTRIBUTE in getattr(value, "__dict__", {})}
    return [spec for value in unique.values() for spec in getattr(value, SPEC_ATTRIBUTE)]
