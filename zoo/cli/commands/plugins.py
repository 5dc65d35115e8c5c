"""`zoo plugins`: what was found, what it provides, and what is wrong with what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Command
from zoo.cli.commands.list import KINDS
from zoo.cli.options import Discover, output_options, plugin_options
from zoo.cli.output import write_json, write_result, write_table
from zoo.errors import UnknownNameError, closest
from zoo.registry.certificates import find_source, read_certificate

if TYPE_CHECKING:
    from zoo.registry.entries import Registry
    from zoo.registry.plugins import Plugin


@click.command("plugins", cls=Command)
@click.argument("name", required=False)
@plugin_options
@output_options
def plugins_command(name: str | None, discover: Discover, as_json: bool) -> None:
    """List the plugins, or show one, and what is wrong with broken ones."""
    registry = discover()
    known = [plugin.name for plugin in registry.plugins]
    if name is not None and name not in known:
        raise UnknownNameError("plugin", name, known, fix="" if closest(name, known) else "See: zoo plugins")
    asked = [plugin for plugin in registry.plugins if name in (None, plugin.name)]
    # A plugin that is asked for by name may just have been mended, so it is tried again.
    shown = [_describe(registry, plugin, retry=name is not None) for plugin in asked]
    if as_json:
        write_json({"plugins": shown})
    elif name is None:
        rows = [("name", "version", "entries", "import", "status", "certificate", "origin")]
        for plugin in shown:
            count = sum(len(names) for names in plugin["entries"].values())
            cells = (plugin["name"], plugin["version"], str(count), _show_seconds(plugin, "-"))
            rows.append((*cells, plugin["status"], _show_certificate(plugin, "-"), plugin["origin"]))
        write_table(rows)
        for plugin in shown:
            for line in filter(None, [plugin["problem"], *plugin["warnings"]]):
                write_result(f"{plugin['status']}: {line}")
    else:
        for plugin in shown:
            _write_plugin(plugin)


def _describe(registry: Registry, plugin: Plugin, *, retry: bool) -> dict[str, Any]:
    """Return what is known of a plugin; looking at its entries is what finds its problems."""
    if retry:
        registry.retry(plugin)
    entries = {plural: registry.names_of(plugin, kind) for plural, kind in KINDS.items()}
    warnings = registry.warnings_of(plugin)
    return {
        "name": plugin.name,
        "version": plugin.version,
        "origin": plugin.origin,
        "source": str(plugin.source) if isinstance(plugin.source, str | Path) else None,
        "entries": entries,
        "status": "broken" if plugin.problem else "warning" if warnings else "ok",
        "problem": str(plugin.problem) if plugin.problem else None,
        "warnings": warnings,
        "import_seconds": plugin.seconds,
        "certificate": _find_certificate(registry, plugin),
    }


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


def _show_certificate(plugin: dict[str, Any], nothing: str) -> str:
    certificate = plugin["certificate"]
    if certificate is None:
        return nothing
    if not certificate["holds"]:
        return f"changed since {certificate['date'][:10]}"
    return f"{certificate['verdict']} {certificate['date'][:10]} by zoo {certificate['zoo']}"


def _show_seconds(plugin: dict[str, Any], nothing: str) -> str:
    seconds = plugin["import_seconds"]
    return nothing if seconds is None else f"{seconds:.2f} s"


def _write_plugin(plugin: dict[str, Any]) -> None:
    write_result(f"{plugin['name']} {plugin['version']}".rstrip())
    rows = [
        ("origin", plugin["origin"]),
        ("source", plugin["source"] or ""),
        ("status", plugin["status"]),
        ("problem", plugin["problem"] or ""),
        *(("warning", warning) for warning in plugin["warnings"]),
        ("import", _show_seconds(plugin, "nothing to import")),
        ("certificate", _show_certificate(plugin, f"none; see: zoo plugin test {plugin['name']}")),
    ]
    for plural, names in plugin["entries"].items():
        rows += [(plural if name == names[0] else "", name) for name in names]
    write_table([row for row in rows if row[1]], indent="  ")
