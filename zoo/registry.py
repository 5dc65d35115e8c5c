"""The registry: entries by kind and name from all plugins, and the calls that build what they declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from zoo.errors import (
    AmbiguousNameError,
    PluginError,
    UnknownNameError,
    UsageError,
    ZooError,
    describe,
    is_out_of_memory,
    quote,
)
from zoo.index import indexed_specs, is_indexed
from zoo.plugins import (
    FIRST_PARTY,
    Plugin,
    find_plugins,
    import_object,
    load_specs,
    plugin_from_object,
    plugin_from_specs,
)
from zoo.specs import AnySpec, DatasetSpec, Kind, MetricSpec, ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from zoo.data import DataSplits
    from zoo.metrics import Metric


S_co = TypeVar("S_co", bound=AnySpec, covariant=True)


@dataclass(frozen=True)
class Entry(Generic[S_co]):
    """A spec plus where it came from."""

    spec: S_co
    plugin: Plugin

    @property
    def name(self) -> str:
        """The bare name."""
        return self.spec.name

    @property
    def qualified_name(self) -> str:
        """`plugin/name`, which always works."""
        return f"{self.plugin.name}/{self.spec.name}"

    @property
    def short_name(self) -> str:
        """The shortest name that will always mean this entry, whatever else gets installed."""
        return self.name if self.is_first_party else self.qualified_name

    @property
    def is_first_party(self) -> bool:
        """Whether it is zoo's own: first-party entries win a bare name."""
        return self.plugin.name == FIRST_PARTY


class Registry:
    """All entries of a set of plugins.

    `Registry()` is empty, for programs that add their own; `Registry.discover()` holds what is installed.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins = list(plugins)

    @classmethod
    def discover(cls, plugins: Sequence[str | Path | object] = (), disabled: Iterable[str] = ()) -> Registry:
        """Return a registry of first-party and installed plugins and of `plugins`: paths, or objects with hooks.

        Raises:
            UsageError, ManifestError, PluginError: a plugin given here or in `ZOO_PLUGINS` does not work. Installed
                ones that are broken are only recorded, see `problems`.
        """
        paths = [plugin for plugin in plugins if isinstance(plugin, str | Path)]
        objects = [plugin for plugin in plugins if not isinstance(plugin, str | Path)]
        registry = cls([*find_plugins(paths, disabled), *map(plugin_from_object, objects)])
        for plugin in registry.plugins:
            if plugin.given or plugin.name == FIRST_PARTY:
                load_specs(plugin)
                if plugin.problem is not None:
                    raise plugin.problem
        return registry

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
        added.specs = list(specs)
        self.plugins.append(added)

    @property
    def problems(self) -> list[ZooError]:
        """What is wrong with the broken plugins met so far: those looked at for a list or a name."""
        return [plugin.problem for plugin in self.plugins if plugin.problem is not None]

    def list_entries(self, kind: Kind, pattern: str = "*") -> list[Entry[Any]]:
        """Return the entries of a kind whose bare or qualified name matches the shell pattern: first-party ones first,
        then by name. A pattern without wildcards matches anywhere in the name.
        """
        if not any(character in pattern for character in "*?["):
            pattern = f"*{pattern}*"
        entries = [
            entry
            for plugin in self.plugins
            for entry in _entries(plugin, kind)
            if fnmatchcase(entry.name, pattern) or fnmatchcase(entry.qualified_name, pattern)
        ]
        return sorted(entries, key=lambda entry: (not entry.is_first_party, entry.qualified_name))

    @overload
    def get(self, kind: Literal["model"], name: str) -> Entry[ModelSpec]: ...
    @overload
    def get(self, kind: Literal["dataset"], name: str) -> Entry[DatasetSpec]: ...
    @overload
    def get(self, kind: Literal["metric"], name: str) -> Entry[MetricSpec]: ...
    @overload
    def get(self, kind: Kind, name: str) -> Entry[Any]: ...

    def get(self, kind: Kind, name: str) -> Entry[Any]:
        """Return the entry called `name`, an alias of it, or `plugin/name`.

        First-party entries win a bare name; for other plugins it must be unique. Code of installed plugins is run for
        a qualified name only, when the index of that plugin does not have it.

        Raises:
            UnknownNameError: there is none; broken plugins that might have it are mentioned.
            AmbiguousNameError: several plugins claim the bare name.
            UsageError: plugins that share their name share this one as well.
        """
        prefix, slash, bare = str(name).rpartition("/")
        own = [plugin for plugin in self.plugins if plugin.name == FIRST_PARTY]
        others = [plugin for plugin in self.plugins if plugin.name != FIRST_PARTY]
        for plugins in (own, others):
            asked = [plugin for plugin in plugins if not slash or plugin.name == prefix]
            found = [entry for plugin in asked for entry in _entries(plugin, kind) if _is_called(entry, bare)]
            if not found and slash:
                # Its index may have failed or be older than what the plugin finds, in a folder of models say.
                for plugin in asked:
                    load_specs(plugin)
                found = [entry for plugin in asked for entry in _entries(plugin, kind) if _is_called(entry, bare)]
            if len(found) == 1:
                return found[0]
            candidates = [entry.qualified_name for entry in found]
            if len(candidates) != len(set(candidates)):
                origins = ", ".join(dict.fromkeys(entry.plugin.origin for entry in found))
                raise UsageError(
                    f"{kind} {quote(name)} is declared twice in plugin {quote(found[0].plugin.name)}", origins
                )
            if found:
                raise AmbiguousNameError(kind, name, candidates)
        raise self._unknown(kind, name)

    def _unknown(self, kind: Kind, name: str) -> UnknownNameError:
        entries = self.list_entries(kind)
        known = [entry.short_name for entry in entries]
        names = [*known, *(entry.name for entry in entries if not entry.is_first_party)]
        notes = [f"Broken: {problem}." for problem in self.problems]
        return UnknownNameError(kind, name, names, notes)


def list_models(
    search: str = "*", *, plugins: Sequence[str | Path | object] = (), registry: Registry | None = None
) -> list[str]:
    """Return the names of the models that match a shell pattern, as `zoo list models` shows them."""
    return _list_names("model", search, plugins, registry)


def list_datasets(
    search: str = "*", *, plugins: Sequence[str | Path | object] = (), registry: Registry | None = None
) -> list[str]:
    """Return the names of the data sets that match a shell pattern, as `zoo list datasets` shows them."""
    return _list_names("dataset", search, plugins, registry)


def list_metrics(
    search: str = "*", *, plugins: Sequence[str | Path | object] = (), registry: Registry | None = None
) -> list[str]:
    """Return the names of the metrics that match a shell pattern, as `zoo list metrics` shows them."""
    return _list_names("metric", search, plugins, registry)


def _list_names(
    kind: Kind, search: str, plugins: Sequence[str | Path | object], registry: Registry | None
) -> list[str]:
    return [entry.short_name for entry in (registry or Registry.discover(plugins)).list_entries(kind, search)]


def _entries(plugin: Plugin, kind: Kind) -> list[Entry[Any]]:
    specs = indexed_specs(plugin) if is_indexed(plugin) else load_specs(plugin)
    return [Entry(spec, plugin) for spec in specs if spec.kind == kind]


def _is_called(entry: Entry[Any], name: str) -> bool:
    return name == entry.name or name in entry.spec.aliases


def load_factory(entry: Entry[Any]) -> Callable[..., Any]:
    """Import the factory of an entry.

    Raises:
        PluginError: the import fails, or what it names cannot be called.
    """
    factory: Any = entry.spec.factory
    if isinstance(factory, str):
        source = entry.plugin.source
        try:
            factory = import_object(factory, source if entry.plugin.given and isinstance(source, Path) else None)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _failed(entry, f"{entry.spec.factory} cannot be loaded", describe(error)) from error
    if not callable(factory):
        raise _failed(entry, f"{entry.spec.factory} is not a factory", f"expected a callable, got {factory!r}")
    return cast("Callable[..., Any]", factory)


def build_model(
    entry: Entry[Any], *, input_shape: tuple[int, ...], num_classes: int, params: Mapping[str, Any]
) -> nn.Module:
    """Build a model: from inputs `(N, *input_shape)` to logits `(N, num_classes)`.

    Raises:
        PluginError: the factory fails or gives something else than an `nn.Module` with parameters.
    """
    from torch import nn

    model = _call(entry, input_shape=input_shape, num_classes=num_classes, **params)
    if not isinstance(model, nn.Module):
        raise _failed(entry, f"model {quote(entry.name)}", f"expected an nn.Module, got {type(model).__name__}")
    if next(model.parameters(), None) is None:
        raise _failed(entry, f"model {quote(entry.name)}", "it has no parameters, so there is nothing to train")
    return model


def build_dataset(entry: Entry[Any], *, root: Path, params: Mapping[str, Any]) -> DataSplits:
    """Build a data set from the files under `root`.

    Raises:
        ZooError: what the factory raises in zoo's own words, a DataError say.
        PluginError: the factory fails otherwise or gives something else than `DataSplits`.
    """
    from zoo.data import DataSplits

    splits = _call(entry, root=root, **params)
    if not isinstance(splits, DataSplits):
        raise _failed(entry, f"dataset {quote(entry.name)}", f"expected zoo.DataSplits, got {type(splits).__name__}")
    return splits


def build_metric(entry: Entry[Any], *, num_classes: int, params: Mapping[str, Any]) -> Metric:
    """Build a metric for `num_classes` classes.

    Raises:
        PluginError: the factory fails, or gives something without `update`, `compute` and `reset`.
    """
    metric = _call(entry, num_classes=num_classes, **params)
    missing = [name for name in ("update", "compute", "reset") if not callable(getattr(metric, name, None))]
    if missing:
        raise _failed(entry, f"metric {quote(entry.name)}", f"expected update, compute and reset, lacks {missing[0]}")
    return cast("Metric", metric)


def _call(entry: Entry[Any], **arguments: Any) -> Any:
    factory = load_factory(entry)
    try:
        return factory(**arguments)
    except (ZooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        raise _failed(entry, f"{entry.spec.kind} {quote(entry.name)} cannot be built", describe(error)) from error


def _failed(entry: Entry[Any], what: str, cause: str) -> PluginError:
    return PluginError(entry.plugin.name, entry.plugin.version, what, cause)
