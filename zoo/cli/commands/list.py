"""`zoo list`: what is registered, from metadata alone."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, plugin_options
from zoo.cli.output import write_json, write_note, write_result, write_table
from zoo.errors import UnknownNameError
from zoo.registry.specs import Kind

if TYPE_CHECKING:
    from zoo.cli.order import Order

KINDS: dict[str, Kind] = {kind if kind == "weights" else f"{kind}s": kind for kind in get_args(Kind)}


@click.command("list", cls=Command)
@click.argument("kind", required=False, metavar="[models|datasets|metrics|weights]")
@click.option("--search", default="", metavar="PATTERN", help="Only names like this: 'res*'; in catalogues as well.")
@click.option("--sort", metavar="KEY", help="Sort by name, plugin, license, parameters, accuracy ...  [name]")
@plugin_options
@output_options
def list_command(kind: str | None, search: str, sort: str | None, discover: Discover, as_json: bool) -> None:
    """List the models, data sets, metrics and weights.

    With --sort a column shows what they are sorted by: of weights their license, model, dataset, parameters (the values
    in the file) or a metric that they declare, the best first; of data sets license, classes and samples.
    """
    if kind is not None and not any(_means(kind, plural) for plural in KINDS):
        raise UnknownNameError("kind", kind, list(KINDS), fix=f"Use one of: {', '.join(KINDS)}")
    registry = discover()
    found = {
        plural: registry.list_entries(singular, search)
        for plural, singular in KINDS.items()
        if kind is None or _means(kind, plural)
    }
    order: Order | None = None
    if sort is not None:
        from zoo.cli.order import find_order

        entries = [entry for listed in found.values() for entry in listed]
        order = find_order(sort, [KINDS[plural] for plural in found], entries, registry)
        found = {plural: order.sort(listed) for plural, listed in found.items()}
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
        if order is not None and sort != "name":
            write_table(
                [(entry.short_name, order.write(entry), entry.spec.description) for entry in entries], indent="  "
            )
        else:
            # Each plugin is aligned by itself, so that the lines of one do not depend on what else is installed.
            for _, group in groupby(entries, key=lambda entry: entry.plugin.name):
                write_table([(entry.short_name, entry.spec.description) for entry in group], indent="  ")
        for name, count in catalogues[plural].items():
            write_table([(f"{name}/...", f"{count} {plural}: zoo list {plural} --search '{name}/*'")], indent="  ")


def _means(given: str, plural: str) -> bool:
    return given in (plural, plural.removesuffix("s"))


def _summary(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.short_name,
        "qualified_name": entry.qualified_name,
        "description": entry.spec.description,
        "aliases": list(entry.spec.aliases),
        "plugin": {"name": entry.plugin.name, "version": entry.plugin.version, "origin": entry.plugin.origin},
    }
