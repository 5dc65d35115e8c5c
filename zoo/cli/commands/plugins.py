"""`zoo plugins`: what was found, what it provides, and what is wrong with what is broken."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, plugin_options
from zoo.cli.output import write_json, write_result, write_table
from zoo.registry.listing import plugins as find_states


@click.command("plugins", cls=Command)
@click.argument("name", required=False)
@plugin_options
@output_options
def plugins_command(name: str | None, discover: Discover, as_json: bool) -> None:
    """List the plugins, or show one, and what is wrong with broken ones."""
    shown = [state.to_dict() for state in find_states(name, registry=discover())]
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
