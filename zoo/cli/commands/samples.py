"""`zoo samples`: the images of a data set, before anything is trained on them."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import (
    Discover,
    output_options,
    param_options,
    place_options,
    plugin_options,
    prepare_for_torch,
    read_grid,
)
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.errors import UsageError
from zoo.registry.compatibility import show_shape


@click.command("samples", cls=Command)
@click.argument("dataset", metavar="DATASET")
@click.option("--split", default="train", metavar="NAME", help="train, validation or test.  [train]")
@click.option("--index", type=int, metavar="N", help="Show this sample only.")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="How many random samples to show.  [4x4]")
@click.option("--seed", type=int, default=42, metavar="N", help="Which random samples.  [42]")
@click.option("--output", metavar="FILE", help="Draw them: the .png, .svg or .pdf file to write.")
@param_options("dataset")
@place_options("data_dir", "offline")
@plugin_options
@output_options
def samples_command(
    dataset: str,
    index: int | None,
    grid: str | None,
    output: str | None,
    discover: Discover,
    as_json: bool,
    **options: Any,
) -> None:
    """Show samples of a data set as they are before preprocessing.

    Without --output they are listed: class, shape, type and range of the values.
    """
    from zoo.results.plots.style import find_format, plot_style, save_figure

    if index is not None and grid is not None:
        raise UsageError("--index and --grid were both given", fix="Give one of them")
    rows, columns = read_grid(grid or "4x4")
    if output is not None:
        find_format(output)
        with plot_style():
            pass  # finds a missing matplotlib before any data are loaded
    prepare_for_torch()
    from zoo.data.samples import load_samples
    from zoo.results.plots.images import plot_samples

    found = load_samples(dataset, index=index, count=rows * columns, registry=discover(), **options)
    if output is not None:
        head = f"{found.dataset}, {found.split}"
        save_figure(plot_samples(found.images, found.labels, columns=columns, title=head), output)
    described = found.describe()
    if as_json:
        write_json({"dataset": found.dataset, "split": found.split, "samples": described, "output": output})
    elif output is not None:
        write_result(f"picture: {escape(output)}")
    else:
        write_table([("index", "class", "shape", "dtype", "values"), *map(_make_row, described)])


def _make_row(sample: dict[str, Any]) -> tuple[str, ...]:
    values = f"{sample['min']:.6g}..{sample['max']:.6g}"
    return str(sample["index"]), escape(sample["label"]), show_shape(sample["shape"]), sample["dtype"], values
