"""`zoo list`: what is registered, from metadata alone."""

from __future__ import annotations

from itertools import groupby
from typing import Any, get_args

import click

from zoo.cli.options import Discover, output_options, plugin_options
from zoo.cli.output import write_json, write_note, write_result, write_table
from zoo.errors import UnknownNameError
from zoo.registry.specs import Kind

KINDS: dict[str, Kind] = {kind if kind == "weights" else f"{kind}s": kind for kind in get_args(Kind)}


@click.command("list")
@click.argument("kind", required=False, metavar="[models|datasets|metrics|weights]")
@click.option("--search", default="", metavar="PATTERN", help="Only names like this: 'res*'; in catalogues as well.")
@plugin_options
@output_options
def list_command(kind: str | None, search: str, discover: Discover, as_json: bool) -> None:
    """List the models, data sets, metrics and weights."""
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, list(KINDS), fix=f"Use one of: {', '.join(KINDS)}")
    registry = discover()
    found = {
        plural: registry.list_entries(singular, search)
        for plural, singular in KINDS.items()
        if kind is None or plural == kind
    }
    # A catalogue has hundreds of names: without a search it is one line, or it would bury the others.
    catalogues = {plural: {} if search else registry.count_catalogues(KINDS[plural]) for plural in found}
    for problem in [*registry.problems, *registry.warnings]:
        write_note(f"Warning: {problem}")
    if as_json:
        listed: dict[str, Any] = {plural: [_summary(entry) for entry in entries] for plural, entries in found.items()}
        write_json({**listed, "catalogues": catalogues})
        return
    if not any(found.values()) and not any(catalogues.values()):
        write_note(f"nothing matches {search!r}")
    for plural, entries in found.items():
        if entries or catalogues[plural]:
            write_result(plural)
        # Each plugin is aligned by itself, so that the lines of one do not depend on what else is installed.
        for _, group in groupby(entries, key=lambda entry: entry.plugin.name):
            write_table([(entry.short_name, entry.spec.description) for entry in group], indent="  ")
        for name, count in catalogues[plural].items():
            write_table([(f"{name}/...", f"{count} {plural}: zoo list {plural} --search '{name}/*'")], indent="  ")


def _summary(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.short_name,
        "qualified_name": entry.qualified_name,
        "description": entry.spec.description,
        "aliases": list(entry.spec.aliases),
        "plugin": {"name": entry.plugin.name, "version": entry.plugin.version, "origin": entry.plugin.origin},
    }
