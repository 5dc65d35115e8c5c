"""Listing: what is registered and what provides it, from metadata alone, as `zoo list` and `zoo plugins` print it."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from zoo.display import align, make_table, say
from zoo.errors import UnknownNameError, closest
from zoo.registry.arguments import checked
from zoo.registry.certificates import find_source, read_certificate
from zoo.registry.entries import Entry, Registry, choose_registry
from zoo.registry.manifest import TABLES
from zoo.registry.plugins import Plugin
from zoo.registry.specs import Kind

KINDS: dict[str, Kind] = {table: cast("Kind", kind) for table, kind in TABLES.items()}
"""The kinds by their plural."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Listing:
    """What is registered; its `repr` is a table.

    Fields:
        entries: The entries of each kind asked for, by the plural of the kind, zoo's own first.
        catalogues: How many entries each catalogue has, a plugin of so many that only a search lists them; by kind.
        problems: What is wrong or odd with plugins, in words.
    """

    entries: dict[str, tuple[Entry[Any], ...]]
    catalogues: dict[str, dict[str, int]]
    problems: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The shortest name of each entry that will always mean it."""
        return tuple(entry.short_name for entries in self.entries.values() for entry in entries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        listed = {plural: [_summarise(entry) for entry in entries] for plural, entries in self.entries.items()}
        return {**listed, "catalogues": self.catalogues}

    def __repr__(self) -> str:
        return align(self._rows)

    def _repr_html_(self) -> str:
        return make_table(self._rows, ("kind", "name", "description"), most=1000)

    @property
    def _rows(self) -> Sequence[tuple[str, str, str]]:
        rows = [(e.spec.kind, e.short_name, e.spec.description) for entries in self.entries.values() for e in entries]
        for plural, counts in self.catalogues.items():
            rows += [(KINDS[plural], f"{name}/...", f"{count} {plural}") for name, count in counts.items()]
        return rows


def _summarise(entry: Entry[Any]) -> dict[str, Any]:
    return {
        "name": entry.short_name,
        "qualified_name": entry.qualified_name,
        "description": entry.spec.description,
        "aliases": [*entry.spec.aliases],
        "plugin": {"name": entry.plugin.name, "version": entry.plugin.version, "origin": entry.plugin.origin},
    }


@checked
def list(
    kind: str | None = None,
    *,
    search: str = "",
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Listing:
    """Return what is registered: of one kind, `models`, `losses` or `weights` say, or of all.

    `search` is a shell pattern for names; one without wildcards matches anywhere in a name. `list_models` and its
    siblings give the names alone.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind is not None and not any(_means(kind, plural) for plural in KINDS):
        raise UnknownNameError("kind", kind, [*KINDS], fix=f"Use one of: {', '.join(KINDS)}")
    chosen = choose_registry(registry, plugins)
    wanted = {plural: singular for plural, singular in KINDS.items() if kind is None or _means(kind, plural)}
    entries = {plural: tuple(chosen.list_entries(singular, search)) for plural, singular in wanted.items()}
    # A catalogue has hundreds of names: without a search it is one line, or it would bury the others.
    catalogues = {plural: {} if search else chosen.count_catalogues(each) for plural, each in wanted.items()}
    problems = (*map(str, chosen.problems), *chosen.warnings)
    return Listing(entries=entries, catalogues=catalogues, problems=problems)


def _means(given: str, plural: str) -> bool:
    return given in (plural, KINDS[plural], plural.removesuffix("s"))


@dataclass(frozen=True, kw_only=True, repr=False)
class PluginState:
    """A plugin: what it provides and what is wrong with it.

    Fields:
        name: Its name.
        version: Its version, empty for a single file.
        origin: Where it is from, in words.
        source: The file or folder, None where there is none.
        entries: The names of what it provides, by the plural of the kind.
        status: `ok`, `warning` or `broken`.
        problem: Why it is broken.
        warnings: What is odd about it.
        import_seconds: How long its import took; None where nothing was imported.
        certificate: What `zoo plugin test` gave it: `verdict`, `version`, `date`, `zoo`, and whether it still `holds`.
    """

    name: str
    version: str
    origin: str
    source: str | None
    entries: dict[str, builtins.list[str]]
    status: str
    problem: str | None
    warnings: builtins.list[str]
    import_seconds: float | None
    certificate: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def __repr__(self) -> str:
        count = sum(len(names) for names in self.entries.values())
        return say("PluginState", f"{self.name} {self.version}".strip(), f"{count} entries", self.status, self.problem)


@checked
def plugins(
    name: str | None = None, *, plugins: Sequence[str | Path | object] = (), registry: Registry | None = None
) -> builtins.list[PluginState]:
    """Return the plugins there are, or the parts of the one of that name, and what is wrong with broken ones.

    Raises:
        UnknownNameError: there is no such plugin.
    """
    chosen = choose_registry(registry, plugins)
    known = [plugin.name for plugin in chosen.plugins]
    if name is not None and name not in known:
        raise UnknownNameError("plugin", name, known, fix="" if closest(name, known) else "See: zoo plugins")
    asked = [plugin for plugin in chosen.plugins if name in (None, plugin.name)]
    # A plugin that is asked for by name may just have been mended, so it is tried again.
    return [_describe(chosen, plugin, retry=name is not None) for plugin in asked]


def _describe(registry: Registry, plugin: Plugin, *, retry: bool) -> PluginState:
    """Return what is known of a plugin; looking at its entries is what finds its problems."""
    if retry:
        registry.retry(plugin)
    entries = {plural: registry.names_of(plugin, kind) for plural, kind in KINDS.items()}
    warnings = registry.warnings_of(plugin)
    return PluginState(
        name=plugin.name,
        version=plugin.version,
        origin=plugin.origin,
        source=str(plugin.source) if isinstance(plugin.source, str | Path) else None,
        entries=entries,
        status="broken" if plugin.problem else "warning" if warnings else "ok",
        problem=str(plugin.problem) if plugin.problem else None,
        warnings=warnings,
        import_seconds=plugin.seconds,
        certificate=_find_certificate(registry, plugin),
    )


def _find_certificate(registry: Registry, plugin: Plugin) -> dict[str, Any] | None:
    """Return the verdict of `zoo plugin test` on a plugin, and whether it is of what is here now."""
    first = next(found for found in registry.plugins if found.name == plugin.name)
    certificate = read_certificate(first.name, find_source(first))
    if certificate is None:
        return None
    return {
        "verdict": certificate.verdict,
        "version": certificate.version,
        "date": certificate.date,
        "zoo": certificate.zoo,
        "holds": certificate.holds and certificate.version == plugin.version,
    }
