"""`zoo show`: what is known of an entry, from its spec alone, or of weights.

`--layers` builds the model, `--counts` loads the data.
"""

from __future__ import annotations

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options, read_params
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.registry.compatibility import show_shape


@click.command("show", cls=Command)
@click.argument("name", metavar="NAME|WEIGHTS")
@click.option("--layers", is_flag=True, help="Build a model and show its layers, shapes and parameter counts.")
@click.option("--dataset", default="shapes", metavar="NAME", help="With --layers: the data set to build for.  [shapes]")
@click.option("--param", "params", multiple=True, metavar="K=V", help="With --layers: a param of the model.")
@click.option("--counts", is_flag=True, help="Load a data set and show its samples per class and its batches.")
@click.option("--batch-size", default="32", metavar="N", help="With --counts: samples per batch.  [32]")
@click.option("--dataset-param", "dataset_params", multiple=True, metavar="K=V", help="With --counts: a param of it.")
@place_options()
@plugin_options
@output_options
def show_command(
    name: str,
    layers: bool,
    dataset: str,
    params: tuple[str, ...],
    counts: bool,
    batch_size: str,
    dataset_params: tuple[str, ...],
    data_dir: str | None,
    offline: bool | None,
    runs_dir: str | None,
    discover: Discover,
    as_json: bool,
) -> None:
    """Show what is known of a model, data set, metric or weights.

    WEIGHTS is a file, a run folder, @last, @best or MODEL@DATASET. Nothing of it is loaded but its header.
    """
    from zoo.models.card import show

    card = show(
        name,
        layers=layers,
        counts=counts,
        dataset=dataset,
        params=read_params("--param", params),
        dataset_params=read_params("--dataset-param", dataset_params),
        batch_size=batch_size,
        data_dir=data_dir,
        runs_dir=runs_dir,
        offline=offline,
        registry=discover(),
    )
    if as_json:
        write_json(card.to_dict())
        return
    for facts in card.facts:
        write_result(escape(facts.title))
        write_table(facts.rows, indent="  ")
        if facts.more:
            write_table(facts.more)
    if card.layers is not None:
        write_result(f"layers for inputs of {show_shape(card.layers.input_shape)}")
        write_table(card.layers.rows, indent="  ")
        write_result(card.layers.total)
    if card.counts is not None:
        write_table(card.counts.rows, indent="  ")
        write_result("\n".join(f"  {escape(line)}" for line in card.counts.batches))
