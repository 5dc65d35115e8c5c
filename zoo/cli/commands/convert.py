"""`zoo convert`: weights of another program, or of a model that has moved, made weights of a registered model."""

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
    read_params,
)
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import SettingError
from zoo.registry.preprocess import INTERPOLATIONS, Preprocess


@click.command("convert", cls=Command)
@click.argument("reference", metavar="FILE|WEIGHTS")
@click.option("--model", "--as", "model", required=True, metavar="MODEL", help="The model that they become weights of.")
@click.option("--output", required=True, metavar="FILE", help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Let the file to write be one that exists.")
@click.option("--class-names", metavar="FILE", help="One name a line, a JSON list or table, or CSV.  [numbers]")
@param_options("model")
@click.option("--input-shape", metavar="CxHxW", help="The shape of an input.  [from crop, resize or the model]")
@click.option("--key", metavar="NAME", help="Where in a checkpoint the state dict is.  [the usual names]")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="A tensor or the beginning of names; repeatable.")
@click.option("--drop", multiple=True, metavar="NAME", help="Tensors to leave out, by name or beginning; repeatable.")
@click.option("--scale", type=float, metavar="X", help="What pixels are divided by.  [the range of their dtype]")
@click.option("--resize", metavar="N|HxW", help="The shorter side after resizing, or both sides.")
@click.option("--interpolation", metavar="NAME", help=f"{', '.join(INTERPOLATIONS)}.  [bilinear]")
@click.option("--rounded", is_flag=True, help="Round pixels after the resize, as Pillow and torchvision do.")
@click.option("--crop", metavar="N|HxW", help="The middle of an image that is kept.")
@click.option("--mean", metavar="X,X,X", help="Subtracted, by channel.")
@click.option("--std", metavar="X,X,X", help="What the rest is divided by, by channel.")
@place_options("runs_dir", "offline")
@plugin_options
@output_options
def convert_command(
    reference: str,
    discover: Discover,
    as_json: bool,
    input_shape: str | None,
    rename: tuple[str, ...],
    scale: float | None,
    resize: str | None,
    interpolation: str | None,
    rounded: bool,
    crop: str | None,
    mean: str | None,
    std: str | None,
    **options: Any,
) -> None:
    """Make zoo weights of a state dict, or of weights whose model has moved to another plugin.

    FILE is a .safetensors file or one that torch.save wrote; nothing in it is run. Say what it does not: the names of
    the classes, and with the options from --scale to --std how images become inputs.

    WEIGHTS are zoo's own, of a plugin file that became a package, say: the model must take all tensors and give the
    predictions that they were saved with.
    """
    steps = {
        "scale": scale,
        "resize": _read_size("--resize", resize),
        "interpolation": interpolation,
        "rounded": rounded or None,
        "crop": _read_size("--crop", crop),
        "mean": _read_numbers("--mean", mean),
        "std": _read_numbers("--std", std),
    }
    if isinstance(steps["crop"], int):
        steps["crop"] = (steps["crop"],) * 2
    given = {name: value for name, value in steps.items() if value is not None}
    preprocess = _make_preprocess(given) if given else None
    shape = None if input_shape is None else _read_sizes("--input-shape", input_shape)
    prepare_for_torch()
    from zoo.models.conversion import convert

    made = convert(
        reference,
        registry=discover(),
        preprocess=preprocess,
        input_shape=shape,
        rename=read_params("--rename", rename),
        **options,
    )
    if as_json:
        write_json(made.to_dict())
        return
    if made.taken is None:
        write_result("\n".join(map(escape, [f"{made.was} -> {made.model}", made.proof, f"weights: {made.weights}"])))
        return
    write_result(escape(f"{made.was} -> {made.model}"))
    write_table([*made.rows, ("weights", str(made.weights))], indent="  ")


def _make_preprocess(steps: dict[str, Any]) -> Preprocess:
    try:
        return Preprocess(**steps)
    except ValueError as error:
        raise SettingError("preprocess", str(error)) from error


def _read_size(option: str, text: str | None) -> int | tuple[int, ...] | None:
    """Return `N` as a number and `HxW` as two."""
    sizes = None if text is None else _read_sizes(option, text)
    if sizes is not None and len(sizes) > 2:
        raise SettingError(option, "expected N or HxW", text)
    return sizes[0] if sizes and len(sizes) == 1 else sizes


def _read_sizes(option: str, text: str) -> tuple[int, ...]:
    parts = text.lower().replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and 0 < int(part) < 2**31 for part in parts):
        raise SettingError(option, "expected whole numbers above 0, as 224x224", text)
    return tuple(map(int, parts))


def _read_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(map(float, text.split(",")))
    except ValueError:
        raise SettingError(option, "expected numbers with commas between them, as 0.485,0.456,0.406", text) from None
