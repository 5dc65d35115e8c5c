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
    read_grid,
)
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import UsageError
from zoo.registry.compatibility import show_shape


@click.command("samples", cls=Command)
@click.argument("dataset", metavar="DATASET")
@click.option("--split", default="train", metavar="NAME", help="train, validation or test.  [train]")
@click.option("--index", type=int, metavar="N", help="Show this sample only.")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="How many random samples to show.  [4x4]")
@click.option(
    "--seed", type=int, default=42, metavar="N", help="Which random samples, and how they are augmented.  [42]"
)
@click.option("--augmented", is_flag=True, help="Draw each before and after augmentation.")
@click.option("--augment", metavar="OPS", help="The operations, flip,crop:padding=2 say.  [flip,crop]")
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
    augmented: bool,
    augment: str | None,
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
    augmented = augmented or augment is not None
    if augmented and output is None:
        raise UsageError("augmented samples are drawn", fix="Say where with --output FILE")
    rows, columns = read_grid(grid or "4x4")
    if output is not None:
        find_format(output)
        with plot_style():
            pass  # finds a missing matplotlib before any data are loaded
    prepare_for_torch()
    from zoo.data.samples import load_samples
    from zoo.results.plots.images import plot_samples

    options |= {"augmented": augmented, "augment": augment}
    found = load_samples(dataset, index=index, count=rows * columns, registry=discover(), **options)
    if output is not None:
        head, images, labels = f"{found.dataset}, {found.split}", found.images, found.labels
        if augmented:
            head = f"{head}: each as it is, and augmented"
            columns *= 2
            images = tuple(image for pair in zip(images, found.augmented, strict=True) for image in pair)
            labels = tuple(caption for label in labels for caption in (label, "augmented"))
        save_figure(plot_samples(images, labels, columns=columns, title=head), output)
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
