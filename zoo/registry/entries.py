"""Entries: what plugins provide, by kind and name. `zoo.registry.factories` builds what they declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, overload

from zoo.display import say
from zoo.errors import AmbiguousNameError, UnknownNameError, UsageError, ZooError, ask, closest, find_variants, quote
from zoo.registry.arguments import checked
from zoo.registry.index import ensure_indexed, find_names, find_specs, find_weights_of
from zoo.registry.loading import load_specs
from zoo.registry.plugins import (
    FIRST_PARTY,
    Plugin,
    blame,
    find_plugins,
    plugin_from_object,
    plugin_from_path,
    plugin_from_specs,
)
from zoo.registry.specs import (
    SPEC_CLASSES,
    AnySpec,
    DatasetSpec,
    Kind,
    LoggerSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    RecipeSpec,
    WeightsSpec,
)

Plugins = Sequence[str | Path | object]
"""Paths of plugins, or objects with hooks."""

S_co = TypeVar("S_co", bound=AnySpec, covariant=True)


SHOWN = 3
"""Warnings of one plugin in a list."""


@dataclass(frozen=True, repr=False)
class Entry(Generic[S_co]):
    """A spec and the plugin that provides it."""

    spec: S_co
    plugin: Plugin

    @property
    def name(self) -> str:
        """The bare name."""
        return self.spec.name

    @property
    def qualified_name(self) -> str:
        """`plugin/name`, which always means this entry."""
        return self.plugin.qualify(self.spec.name)

    @property
    def short_name(self) -> str:
        """The shortest name that will always mean this entry, whatever else gets installed."""
        return self.name if self.is_first_party else self.qualified_name

    def __repr__(self) -> str:
        return say("Entry", f"{self.spec.kind} {self.qualified_name}")

    @property
    def is_first_party(self) -> bool:
        """Whether it is zoo's own: first-party entries win a bare name."""
        return self.plugin.name == FIRST_PARTY

    def blamed(self, what: str) -> AbstractContextManager[None]:
        """Tell an error of the body, which uses the entry, as one of its plugin: `model 'net' WHAT`; see `blame`."""
        return blame(self.plugin.name, self.plugin.version, f"{self.spec.kind} {quote(self.name)} {what}")


class Registry:
    """All entries of a set of plugins.

    `Registry()` is empty, for programs that add their own; `Registry.discover()` holds what is installed.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins = list(plugins)

    def __repr__(self) -> str:
        return say("Registry", f"{len(self.plugins)} plugins: {', '.join(plugin.name for plugin in self.plugins)}")

    @classmethod
    def discover(cls, plugins: Plugins = (), disabled: Iterable[str] = ()) -> Registry:
        """Return a registry of first-party and installed plugins and of `plugins`: paths, or objects with hooks.

        Raises:
            UsageError, ManifestError, PluginError: a plugin given here or in `ZOO_PLUGINS` does not work. Installed
                ones that are broken are only recorded, see `problems`.
        """
        paths = [plugin for plugin in plugins if isinstance(plugin, str | Path)]
        objects = [plugin for plugin in plugins if not isinstance(plugin, str | Path)]
        registry = cls([*find_plugins(paths, disabled), *map(plugin_from_object, objects)])
        for plugin in registry.plugins:
            if not plugin.installed:
                ensure_indexed(plugin)
                if plugin.problem is not None:
                    raise plugin.problem
        return registry

    def including(self, paths: Sequence[str | Path]) -> Registry:
        """Return a registry that has the plugins of these files too; raise what `discover` does for one of them."""
        known = [plugin.source for plugin in self.plugins if isinstance(plugin.source, Path)]
        added = [plugin for plugin in map(plugin_from_path, dict.fromkeys(paths)) if plugin.source not in known]
        for plugin in added:
            ensure_indexed(plugin)
            if plugin.problem is not None:
                raise plugin.problem
        return Registry([*self.plugins, *added]) if added else self

    def add(self, *specs: AnySpec, plugin: str = "local") -> None:
        """Add specs by hand, as entries of a plugin called `plugin`.

        Raises:
            UsageError: `plugin` cannot name a plugin.
            PluginError: a name is declared twice.
        """
        earlier = [spec for known in self.plugins if known.name == plugin for spec in known.specs or ()]
        added = plugin_from_specs(plugin, [*earlier, *specs])
        load_specs(added)
        if added.problem is not None:
            raise added.problem
        for flaw in added.left_out:
            raise added.explain_left_out(flaw)
        added.specs = list(specs)
        self.plugins.append(added)

    @property
    def problems(self) -> list[ZooError]:
        """What is wrong with broken plugins, of those that were needed so far for a list or a name."""
        return [plugin.problem for plugin in self.plugins if plugin.problem is not None]

    @property
    def warnings(self) -> list[str]:
        """What is odd about plugins, of those that were needed so far: a few lines for each that works."""
        told = []
        for plugin in self.plugins:
            # What is wrong with a broken one is its problem, once; `zoo plugins NAME` shows all.
            found = plugin.warnings if plugin.problem is not None else self.warnings_of(plugin)
            more = [f"{len(found) - SHOWN} more, see: zoo plugins {plugin.name}"] if len(found) > SHOWN + 1 else []
            shown = found[:SHOWN] if more else found
            told += [f"plugin {quote(plugin.label)}: {text}" for text in [*shown, *more]]
        return told

    def warnings_of(self, plugin: Plugin) -> list[str]:
        """Return what is odd about a plugin: entries left out, unknown hooks, and names that zoo's own entries have."""
        # Where all are left out, the first of them is the problem of the plugin.
        left_out = plugin.left_out[1:] if plugin.problem is not None else plugin.left_out
        found = [*map(str, left_out), *plugin.warnings]
        if plugin.name == FIRST_PARTY or plugin.qualified_only:
            return found
        for kind in SPEC_CLASSES:
            own = {name for first in self._first_party for names in find_names(first, kind) for name in names}
            for name, *aliases in find_names(plugin, kind):
                shadowed = ", ".join(sorted(own & {name, *aliases}))
                if shadowed:
                    found.append(f"{kind} {shadowed} is zoo's own; this plugin's is {plugin.qualify(name)}")
        return found

    def retry(self, plugin: Plugin) -> None:
        """Load an installed plugin again if it is broken."""
        ensure_indexed(plugin)
        if plugin.problem is not None:
            ensure_indexed(plugin, fresh=True)

    def names_of(self, plugin: Plugin, kind: Kind) -> list[str]:
        """Return the short names of the entries of one plugin."""
        prefix = "" if plugin.name == FIRST_PARTY else f"{plugin.name}/"
        return [f"{prefix}{name}" for name, *_ in find_names(plugin, kind)]

    @property
    def _first_party(self) -> list[Plugin]:
        return [plugin for plugin in self.plugins if plugin.name == FIRST_PARTY]

    def count_catalogues(self, kind: Kind) -> dict[str, int]:
        """Return the number of entries by catalogue, a plugin whose entries are found as `plugin/name` only."""
        counts = {plugin.name: len(find_names(plugin, kind)) for plugin in self.plugins if _is_catalogue(plugin)}
        return {name: count for name, count in counts.items() if count}

    def list_entries(self, kind: Kind, pattern: str = "") -> list[Entry[Any]]:
        """Return the entries of a kind whose bare or qualified name matches a shell pattern, zoo's own first.

        A pattern without wildcards matches anywhere in the name. Without a pattern, the entries of catalogues are left
        out; `"*"` gives all entries.
        """
        plugins = [plugin for plugin in self.plugins if pattern or not _is_catalogue(plugin)]
        if not any(character in pattern for character in "*?["):
            pattern = f"*{pattern}*"
        entries = [entry for plugin in plugins for entry in _find_matching(plugin, kind, pattern)]
        return sorted(entries, key=lambda entry: (not entry.is_first_party, entry.qualified_name))

    def list_weights_of(self, model: Entry[ModelSpec]) -> list[Entry[WeightsSpec]]:
        """Return the weights, of all plugins, that name a model by its bare name or an alias of it, zoo's own first.

        A name that several plugins have may mean another one's model.
        """
        names = {model.name, *model.spec.aliases}
        entries = [Entry(spec, plugin) for plugin in self.plugins for spec in find_weights_of(plugin, names)]
        return sorted(entries, key=lambda entry: not entry.is_first_party)

    @overload
    def get(self, kind: Literal["model"], name: str) -> Entry[ModelSpec]: ...
    @overload
    def get(self, kind: Literal["dataset"], name: str) -> Entry[DatasetSpec]: ...
    @overload
    def get(self, kind: Literal["metric"], name: str) -> Entry[MetricSpec]: ...
    @overload
    def get(self, kind: Literal["loss"], name: str) -> Entry[LossSpec]: ...
    @overload
    def get(self, kind: Literal["logger"], name: str) -> Entry[LoggerSpec]: ...
    @overload
    def get(self, kind: Literal["recipe"], name: str) -> Entry[RecipeSpec]: ...
    @overload
    def get(self, kind: Literal["weights"], name: str) -> Entry[WeightsSpec]: ...
    @overload
    def get(self, kind: Kind, name: str) -> Entry[Any]: ...

    def get(self, kind: Kind, name: str) -> Entry[Any]:
        """Return the entry called `name`, an alias of it, or `plugin/name`.

        zoo's own entries win a bare name. Another plugin's entry has one if no other plugin has the same name, entries
        of catalogues have none. No code of an installed plugin runs in this process.

        Raises:
            UnknownNameError: there is none; broken plugins that might have it are mentioned.
            AmbiguousNameError: several plugins claim the bare name.
            UsageError: plugins that share their name share this one as well.
            PluginError: the plugin asked for is broken, or the entry was left out for what is wrong with it.
        """
        prefix, slash, bare = str(name).rpartition("/")
        others = [plugin for plugin in self.plugins if plugin.name != FIRST_PARTY]
        for plugins in (self._first_party, others):
            if slash:
                found = _find_qualified([plugin for plugin in plugins if plugin.name == prefix], kind, bare)
            else:
                searched = [plugin for plugin in plugins if not _is_catalogue(plugin)]
                found = [entry for plugin in searched for entry in _find_named(plugin, kind, bare)]
            if len(found) == 1:
                return found[0]
            candidates = [entry.qualified_name for entry in found]
            if len(candidates) != len(set(candidates)):
                origins = ", ".join(dict.fromkeys(entry.plugin.origin for entry in found))
                twice = quote(found[0].plugin.name)
                raise UsageError(f"{kind} {quote(name)} is declared twice in plugin {twice}", origins, "Rename one")
            if found:
                raise AmbiguousNameError(kind, name, candidates)
        for plugin in self.plugins:
            for flaw in plugin.left_out:
                if (flaw.kind, flaw.name) == (kind, bare) and prefix in ("", plugin.name):
                    raise plugin.explain_left_out(flaw)
        raise self._explain_unknown(kind, name)

    def find_kinds(self, name: str) -> list[Kind]:
        """Return the kinds of the entries that go by a name."""
        prefix, _, bare = str(name).rpartition("/")
        asked = [plugin for plugin in self.plugins if (plugin.name == prefix if prefix else not _is_catalogue(plugin))]
        kinds: tuple[Kind, ...] = get_args(Kind)
        return [kind for kind in kinds if any(_find_named(plugin, kind, bare) for plugin in asked)]

    def _explain_elsewhere(self, kind: Kind, name: str, kinds: Sequence[Kind]) -> str:
        """Say what a name is that means another kind of thing."""
        told = f"{quote(name)} is {' and '.join(other if other == 'weights' else f'a {other}' for other in kinds)}"
        if kind != "weights" or "metric" in kinds:
            return told
        specs = [entry.spec for entry in self.list_entries("weights", "*")]
        found = [f"{spec.model}@{spec.dataset}" for spec in specs if name in (spec.model, spec.dataset)]
        return f"{told}; its weights: {', '.join(found)}" if found else f"{told}, and no weights of it are registered"

    def _explain_unknown(self, kind: Kind, name: str) -> UnknownNameError:
        meant: dict[str, list[str]] = {}
        for entry in self.list_entries(kind):
            meant[entry.short_name] = [entry.short_name]
            meant.setdefault(entry.name, [entry.name])
        for plugin in self.plugins:
            # Whoever types the bare name of a catalogue's entry gets the qualified name suggested.
            for bare, *_ in find_names(plugin, kind) if _is_catalogue(plugin) else ():
                qualified = plugin.qualify(bare)
                meant[qualified] = [qualified]
                if bare not in meant or meant[bare] != [bare]:
                    meant.setdefault(bare, []).append(qualified)
        notes = [f"Broken: {problem}." for problem in self.problems]
        for plugin in self.plugins:
            by_path = isinstance(plugin.source, Path) and not plugin.installed and plugin.problem is None
            if by_path and not any(find_names(plugin, each) for each in get_args(Kind)):
                fix = f"decorate what it has: @zoo.{kind}(name=...)"
                notes.append(f"Plugin {quote(plugin.name)} provides nothing, {fix}.")
        known = list(dict.fromkeys(name for names in meant.values() for name in names))
        if elsewhere := self.find_kinds(name):
            return UnknownNameError(kind, name, known, notes, self._explain_elsewhere(kind, name, elsewhere), elsewhere)
        if variants := find_variants(name, meant):
            near = [*variants, *meant.get(name, ())]
        else:
            near = meant.get(closest(name, meant) or "", [])
        fix = ask(near) if near else ""
        return UnknownNameError(kind, name, known, notes, fix)


def choose_registry(registry: Registry | None, plugins: Plugins) -> Registry:
    """Return the registry given, else what is installed with `plugins`.

    Raises:
        UsageError: both were given.
        ZooError: see `Registry.discover`.
    """
    if registry is None:
        return Registry.discover(plugins)
    if plugins:
        raise UsageError("registry= and plugins= were both given", "a registry has its plugins", "Give one of them")
    return registry


@checked
def list_models(search: str = "", *, plugins: Plugins = (), registry: Registry | None = None) -> list[str]:
    """Return the names of the models that match a shell pattern, as `zoo list models` shows them."""
    return _list_names("model", search, plugins, registry)


@checked
def list_datasets(search: str = "", *, plugins: Plugins = (), registry: Registry | None = None) -> list[str]:
    """Return the names of the data sets that match a shell pattern, as `zoo list datasets` shows them."""
    return _list_names("dataset", search, plugins, registry)


@checked
def list_metrics(search: str = "", *, plugins: Plugins = (), registry: Registry | None = None) -> list[str]:
    """Return the names of the metrics that match a shell pattern, as `zoo list metrics` shows them."""
    return _list_names("metric", search, plugins, registry)


@checked
def list_recipes(search: str = "", *, plugins: Plugins = (), registry: Registry | None = None) -> list[str]:
    """Return the names of the recipes that match a shell pattern, as `zoo list recipes` shows them."""
    return _list_names("recipe", search, plugins, registry)


@checked
def list_weights(search: str = "", *, plugins: Plugins = (), registry: Registry | None = None) -> list[str]:
    """Return the names of the weights that match a shell pattern, as `zoo list weights` shows them."""
    return _list_names("weights", search, plugins, registry)


def _list_names(kind: Kind, search: str, plugins: Plugins, registry: Registry | None) -> list[str]:
    return [entry.short_name for entry in choose_registry(registry, plugins).list_entries(kind, search)]


def _is_catalogue(plugin: Plugin) -> bool:
    ensure_indexed(plugin)
    return plugin.qualified_only


def _find_matching(plugin: Plugin, kind: Kind, pattern: str) -> list[Entry[Any]]:
    def is_wanted(name: str, *aliases: str) -> bool:
        return fnmatchcase(name, pattern) or fnmatchcase(plugin.qualify(name), pattern)

    return [Entry(spec, plugin) for spec in find_specs(plugin, kind, is_wanted)]


def _find_named(plugin: Plugin, kind: Kind, name: str) -> list[Entry[Any]]:
    return [Entry(spec, plugin) for spec in find_specs(plugin, kind, lambda *names: name in names)]


def _find_qualified(plugins: Sequence[Plugin], kind: Kind, name: str) -> list[Entry[Any]]:
    """Return the entries of one plugin, which may have several parts, that are called `name`."""
    if found := [entry for plugin in plugins for entry in _find_named(plugin, kind, name)]:
        return found
    for plugin in plugins:  # it may have failed before, or find more by now, for instance in a folder of models
        ensure_indexed(plugin, fresh=True)
    if found := [entry for plugin in plugins for entry in _find_named(plugin, kind, name)]:
        return found
    for plugin in plugins:
        if plugin.problem is not None:
            raise plugin.problem
    return []
