"""`zoo predict`: the classes of images, printed as the images are read."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Command
from zoo.cli.grid import MAX_CELLS, save_grid
from zoo.cli.options import Discover, debug_option, place_options, plugin_options, speed_options
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.pictures import Problems, find_both, load_for_pictures, read_batches, warning_once
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import SettingError, UsageError

if TYPE_CHECKING:
    from zoo.models.predictions import Prediction


@click.command("predict", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER|-...")
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Show the K most probable classes.  [1]")
@click.option("--output", metavar="FILE", help="Draw the first 36 images with their labels: a .png file.")
@click.option("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ...  [cpu]")
@speed_options
@place_options("runs_dir", "offline")
@plugin_options
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header; with --top a row for each class.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@debug_option
def predict_command(
    reference: str,
    images: tuple[str, ...],
    top: int | None,
    output: str | None,
    threads: str | None,
    memory_format: str | None,
    device: str,
    runs_dir: str | None,
    offline: bool | None,
    discover: Discover,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Predict the classes of images.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. Of a FOLDER every image is
    read, those of its subfolders too; - is an image on stdin. What cannot be read is reported, the others are predicted
    all the same.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json were both given", fix="Give one of them")
    if output is not None and not output.lower().endswith(".png"):
        raise SettingError("--output", "expected the name of a .png file", output)
    prepare_for_torch()
    from zoo.models.device import use_threads
    from zoo.models.predictor import read_speed

    wish, layout = read_speed(threads, memory_format or "auto")
    registry = discover()
    path, paths = find_both(reference, images, registry, runs_dir=runs_dir, offline=offline)
    predictor = load_for_pictures(reference, path, registry, device=device, memory_format=layout)
    problems = Problems(as_json)
    cells: list[tuple[Any, str, float]] = []
    if as_csv:
        _write_csv(["path", *(["rank"] if top else []), "label", "index", "probability"])
    with use_threads(predictor.choose_threads(wish)), warning_once():
        for batch in read_batches(paths, predictor, problems, MAX_CELLS if output else 0):
            found = predictor.predict(inputs for _, inputs, _ in batch).top(top or 1)
            rows = [(path, best) for (path, _, _), best in zip(batch, found, strict=True)]
            if as_csv:
                _write_csv_rows(rows, ranked=top is not None)
            elif as_json:
                _write_json_rows(rows, ranked=top is not None)
            else:
                _write_plain_rows(rows)
            drawn = [(picture, best[0]) for (_, _, picture), (_, best) in zip(batch, rows, strict=True) if picture]
            cells += [(picture, escape(best.label), best.probability) for picture, best in drawn]
    if output is not None and cells:
        save_grid(output, cells)
        write_note(f"picture: {escape(output)}")  # the rows on stdout are often read by a program
    problems.raise_last()


def _write_plain_rows(rows: Sequence[tuple[str, Sequence[Prediction]]]) -> None:
    cells = [[cell for one in best for cell in (escape(one.label), f"{one.probability:.4f}")] for _, best in rows]
    write_table([[escape(path), *found] for (path, _), found in zip(rows, cells, strict=True)])


def _write_json_rows(rows: Sequence[tuple[str, Sequence[Prediction]]], *, ranked: bool) -> None:
    for path, best in rows:
        classes = [{"label": one.label, "index": one.index, "probability": one.probability} for one in best]
        write_json({"path": path, **classes[0], **({"top": classes} if ranked else {})})


def _write_csv_rows(rows: Sequence[tuple[str, Sequence[Prediction]]], *, ranked: bool) -> None:
    for path, best in rows:
        for rank, one in enumerate(best, start=1):
            _write_csv([path, *([rank] if ranked else []), one.label, one.index, one.probability])


def _write_csv(cells: Sequence[object]) -> None:
    line = io.StringIO()
    csv.writer(line).writerow([escape(cell) if isinstance(cell, str) else cell for cell in cells])
    write_result(line.getvalue().removesuffix("\r\n"))
