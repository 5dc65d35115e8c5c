"""`zoo plugins`: what was found, and what is wrong with what is broken."""

from __future__ import annotations

import click

from zoo.commands.list import KINDS
from zoo.commands.options import discover, output_options, plugin_options
from zoo.commands.output import write_json, write_table


@click.command("plugins")
@plugin_options
@output_options
def plugins_command(plugins: tuple[str, ...], disabled: tuple[str, ...], as_json: bool, debug: bool) -> None:
    """List the plugins, and what is wrong with broken ones."""
    registry = discover(plugins, disabled)
    counts = {plugin.name: 0 for plugin in registry.plugins}
    for kind in KINDS.values():
        for entry in registry.list_entries(kind):
            counts[entry.plugin.name] += 1
    shown = [
        {
            "name": plugin.name,
            "version": plugin.version,
            "origin": plugin.origin,
            "entries": counts[plugin.name],
            "status": "broken" if plugin.problem else "ok",
            "problem": str(plugin.problem) if plugin.problem else None,
        }
        for plugin in registry.plugins
    ]
    if as_json:
        write_json({"plugins": shown})
        return
    header = ("name", "version", "entries", "status", "origin")
    write_table([header, *(tuple(str(plugin[column]) for column in header) for plugin in shown)])
    for plugin in shown:
        if plugin["problem"]:
            write_table([("", str(plugin["problem"]))])
