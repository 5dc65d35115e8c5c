"""`zoo list`: what is registered, from metadata alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, plugin_options
from zoo.cli.output import write_json, write_note, write_result, write_table
from zoo.registry.listing import KINDS
from zoo.registry.listing import list as list_entries

if TYPE_CHECKING:
    from zoo.cli.order import Order


@click.command("list", cls=Command)
@click.argument("kind", required=False, metavar="[KIND]")
@click.option("--search", default="", metavar="PATTERN", help="Only names like this: 'res*'; in catalogues as well.")
@click.option("--sort", metavar="KEY", help="Sort by name, plugin, license, parameters, accuracy ...  [name]")
@plugin_options
@output_options
def list_command(kind: str | None, search: str, sort: str | None, discover: Discover, as_json: bool) -> None:
    """List what is registered: models, data sets, metrics, losses, loggers, recipes, weights.

    With --sort a column shows what they are sorted by: of weights their license, model, dataset, parameters (the values
    in the file) or a metric that they declare, the best first; of data sets license, classes and samples.
    """
    registry = discover()
    found = list_entries(kind, search=search, registry=registry)
    order: Order | None = None
    if sort is not None:
        from zoo.cli.order import find_order

        every = [entry for listed in found.entries.values() for entry in listed]
        order = find_order(sort, [KINDS[plural] for plural in found.entries], every, registry)
        found = replace(found, entries={plural: tuple(order.sort([*each])) for plural, each in found.entries.items()})
    for problem in found.problems:
        write_note(f"Warning: {problem}")
    if as_json:
        write_json(found.to_dict())
        return
    if not any(found.entries.values()) and not any(found.catalogues.values()):
        write_note(f"nothing matches {search!r}")
    for plural, entries in found.entries.items():
        if entries or found.catalogues[plural]:
            write_result(plural)
        if order is not None and sort != "name":
            write_table(
                [(entry.short_name, order.write(entry), entry.spec.description) for entry in entries], indent="  "
            )
        else:
            # Each plugin is aligned by itself, so that the lines of one do not depend on what else is installed.
            for _, group in groupby(entries, key=lambda entry: entry.plugin.name):
                write_table([(entry.short_name, entry.spec.description) for entry in group], indent="  ")
        for name, count in found.catalogues[plural].items():
            write_table([(f"{name}/...", f"{count} {plural}: zoo list {plural} --search '{name}/*'")], indent="  ")
