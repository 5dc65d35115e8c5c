"""`zoo convert`: weights handed on to the same model under another name."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options, prepare_for_torch
from zoo.cli.output import escape, write_json, write_result


@click.command("convert", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.option("--as", "model", required=True, metavar="MODEL", help="The model that they become weights of.")
@click.option("--output", required=True, metavar="FILE", help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Let FILE be the one that is converted.")
@place_options("runs_dir", "offline")
@plugin_options
@output_options
def convert_command(reference: str, discover: Discover, as_json: bool, **options: Any) -> None:
    """Make weights those of a model that has moved to another plugin.

    Of a plugin file that became a package, say. The model must take all tensors and give the predictions that the
    weights were saved with.
    """
    prepare_for_torch()
    from zoo.models.conversion import convert

    made = convert(reference, registry=discover(), **options)
    if as_json:
        write_json(made.to_dict())
        return
    lines = [f"{made.was} -> {made.model}", made.proof, f"weights: {made.weights}"]
    write_result("\n".join(map(escape, lines)))
