"""`zoo plot`: pictures of trainings and of predictions."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options, read_grid
from zoo.cli.output import escape, write_json, write_result
from zoo.cli.torch_import import prepare_for_torch


@click.command("plot", cls=Command)
@click.argument("references", nargs=-1, required=True, metavar="WEIGHTS...")
@click.option("--kind", required=True, metavar="KIND", help="curves, schedule, confusion, predictions or wrong.")
@click.option("--output", required=True, metavar="FILE", help="The .png, .svg or .pdf file to write.")
@click.option(
    "--grid", metavar="ROWSxCOLUMNS", default="3x3", help="How many images predictions and wrong show.  [3x3]"
)
@click.option("--seed", type=int, default=42, metavar="N", help="Which images predictions shows.  [42]")
@place_options()
@plugin_options
@output_options
def plot_command(
    references: tuple[str, ...],
    kind: str,
    output: str,
    grid: str,
    seed: int,
    discover: Discover,
    as_json: bool,
    **places: Any,
) -> None:
    """Draw curves, a learning rate, a confusion matrix or predictions.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. curves are loss and metric by
    epoch, of several runs in one picture; schedule is the learning rate by step; confusion is the matrix of truth and
    prediction; predictions are random test images with predicted | truth; wrong are the surest mistakes.
    """
    from zoo.results.plots.style import find_format, save_figure

    find_format(output)
    cells = read_grid(grid)
    prepare_for_torch()
    from zoo.results.plots.plot import plot

    figure = plot(references, kind, grid=cells, seed=seed, registry=discover(), progress=True, **places)
    save_figure(figure, output)
    if as_json:
        write_json({"kind": kind, "output": output})
    else:
        write_result(f"picture: {escape(output)}")
