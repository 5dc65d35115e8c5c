"""`zoo list`: what is registered, from metadata alone."""

from __future__ import annotations

from typing import Any, get_args

import click

from zoo.commands.options import discover, output_options, plugin_options
from zoo.commands.output import write_json, write_note, write_result, write_table
from zoo.errors import UnknownNameError
from zoo.specs import SPEC_CLASSES, Kind

KINDS: dict[str, Kind] = {f"{kind}s": kind for kind in get_args(Kind) if kind in SPEC_CLASSES}


@click.command("list")
@click.argument("kind", required=False, metavar="[models|datasets|metrics]")
@click.option("--search", default="*", metavar="PATTERN", help="Only names like this: 'tiny*', or a part of the name.")
@plugin_options
@output_options
def list_command(
    kind: str | None,
    search: str,
    plugins: tuple[str, ...],
    disabled: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """List the models, data sets and metrics."""
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, list(KINDS), fix=f"Use one of: {', '.join(KINDS)}")
    registry = discover(plugins, disabled)
    found = {
        plural: registry.list_entries(singular, search)
        for plural, singular in KINDS.items()
        if kind is None or plural == kind
    }
    for problem in registry.problems:
        write_note(f"Warning: {problem}")
    if as_json:
        write_json({plural: [_summary(entry) for entry in entries] for plural, entries in found.items()})
        return
    if not any(found.values()):
        write_note(f"nothing matches {search!r}")
    for plural, entries in found.items():
        if entries:
            write_result(plural)
            write_table([(entry.short_name, entry.spec.description) for entry in entries], indent="  ")


def _summary(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.short_name,
        "qualified_name": entry.qualified_name,
        "description": entry.spec.description,
        "aliases": list(entry.spec.aliases),
        "plugin": {"name": entry.plugin.name, "version": entry.plugin.version, "origin": entry.plugin.origin},
    }
