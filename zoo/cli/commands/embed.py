"""`zoo embed`: the features of images, written to a file."""

from __future__ import annotations

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options, speed_options
from zoo.cli.output import escape, write_json, write_result
from zoo.cli.pictures import Problems, find_both, load_for_pictures, read_batches, warning_once
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import SettingError


@click.command("embed", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER|-...")
@click.option("--output", required=True, metavar="FILE", help="The file to write: a .safetensors file.")
@click.option("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ...  [cpu]")
@speed_options
@place_options("runs_dir", "offline")
@plugin_options
@output_options
def embed_command(
    reference: str,
    images: tuple[str, ...],
    output: str,
    device: str,
    threads: str | None,
    memory_format: str | None,
    runs_dir: str | None,
    offline: bool | None,
    discover: Discover,
    as_json: bool,
) -> None:
    """Write the features of images: what the model makes of them before it tells the classes apart.

    WEIGHTS and images are as for `zoo predict`, and so is what cannot be read: it is reported, the others are embedded
    all the same. FILE has the tensor features, a row for each image, and in its metadata the files of the rows.
    """
    if not output.lower().endswith(".safetensors"):
        raise SettingError("--output", "expected the name of a .safetensors file", output)
    prepare_for_torch()
    import torch

    from zoo.models.device import use_threads
    from zoo.models.embedding import Embeddings, check_paths, describe_origin, measure_paths
    from zoo.models.predictor import read_speed

    wish, layout = read_speed(threads, memory_format or "auto")
    registry = discover()
    path, paths = find_both(reference, images, registry, runs_dir=runs_dir, offline=offline)
    predictor = load_for_pictures(reference, path, registry, device=device, memory_format=layout)
    origin, problems = describe_origin(reference, path, predictor), Problems(as_json)
    names, size = list[str](), 0
    parts: list[torch.Tensor] = []
    with use_threads(predictor.choose_threads(wish)), warning_once():
        for batch in read_batches(paths, predictor, problems):
            parts.append(predictor.extract(inputs for _, inputs, _ in batch))
            added = [name for name, _, _ in batch]
            size += measure_paths(added)
            check_paths(size)
            names += added
    if parts:
        made = Embeddings(features=torch.cat(parts).numpy(), paths=tuple(names), origin=origin)
        made.save(output)
        count, width = made.features.shape
        if as_json:
            write_json({"output": output, "images": count, "width": width, **vars(origin)})
        else:
            counted = f"{count:,} image{'' if count == 1 else 's'}"
            write_result(f"{counted}, {width:,} features each, from {escape(origin.layer)} of {origin.model}")
            write_result(f"embeddings: {escape(output)}")
    problems.raise_last()
