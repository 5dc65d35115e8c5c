"""`zoo adapt`: a trained model for other classes."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options
from zoo.cli.output import escape, write_json, write_result
from zoo.cli.torch_import import prepare_for_torch


@click.command("adapt", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.option("--num-classes", type=int, metavar="N", help="The number of the new classes.")
@click.option("--dataset", metavar="NAME", help="The data set that declares the new classes.")
@click.option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    help="Parameters of such names are not trained by zoo run --init; repeatable.",
)
@click.option("--output", required=True, metavar="FILE", help="The file to write.")
@place_options("runs_dir", "offline")
@plugin_options
@output_options
def adapt_command(reference: str, freeze: tuple[str, ...], discover: Discover, as_json: bool, **options: Any) -> None:
    """Rebuild a model for other classes and keep the weights that fit.

    Train what is new with: zoo run --init FILE
    """
    prepare_for_torch()
    from zoo.models.adaptation import adapt

    made = adapt(reference, freeze=freeze, registry=discover(), **options)
    if as_json:
        write_json(made.to_dict())
        return
    lines = [f"{made.model} for {len(made.class_names)} classes"]
    lines += [f"kept {name}" for name in made.kept]
    lines += [f"new {name}: {why}" for name, why in made.new.items()]
    lines += [f"unused {name}" for name in made.unused]
    lines += [f"frozen {name}" for name in made.frozen]
    write_result("\n".join(map(escape, [*lines, f"weights: {made.weights}"])))
