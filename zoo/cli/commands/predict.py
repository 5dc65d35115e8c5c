"""`zoo predict`: the classes of images, printed as the images are read."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Command
from zoo.cli.grid import MAX_CELLS, make_thumbnail, save_grid
from zoo.cli.options import Discover, debug_option, place_options, plugin_options, prepare_for_torch
from zoo.cli.output import escape, write_error, write_json, write_note, write_result, write_table
from zoo.errors import DataError, ErrorCollector, SettingError, UsageError, ZooError, quote
from zoo.registry.places import open_places

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zoo.models.predictions import Prediction
    from zoo.models.predictor import Predictor

BATCH, BATCH_VALUES = 64, 1 << 24
"""Images that are predicted at once: enough to keep a model busy, few enough that rows come soon. Of large inputs there
are fewer: so many values."""

log = logging.getLogger("zoo")


@click.command("predict", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER|-...")
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Show the K most probable classes.  [1]")
@click.option("--output", metavar="FILE", help="Draw the first 36 images with their labels: a .png file.")
@click.option("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ...  [cpu]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [from the work of a batch]")
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
    threads: int | None,
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
    from zoo.data.images import find_images
    from zoo.models.device import choose_threads, use_threads
    from zoo.models.predictor import load
    from zoo.models.probe import count_flop
    from zoo.models.references import find_weights

    registry, errors = discover(), ErrorCollector()
    # What is wrong with either is said together: who mixed them up is told more by both.
    with errors.catch():
        path = find_weights(reference, open_places(registry, runs_dir=runs_dir, offline=offline))
    with errors.catch():
        paths = find_images(images)
    errors.raise_any()
    predictor = load(path, registry=registry, device=device)
    if len(predictor.weights.raw_image.shape) != 3:
        shape = "x".join(map(str, predictor.weights.raw_image.shape))
        raise DataError(f"{quote(reference)} is for inputs of shape {shape}", "an image has channels, height and width")
    with predictor.weights.plugin.blamed(f"model {quote(predictor.weights.model)} failed"):
        flop = count_flop(predictor.model, predictor.input_shape, predictor.device) * BATCH
    problems = _Problems(as_json)
    cells: list[tuple[Any, str, float]] = []
    if as_csv:
        _write_csv(["path", *(["rank"] if top else []), "label", "index", "probability"])
    with use_threads(choose_threads(flop, threads)), _warning_once():
        for batch in _read_batches(paths, predictor, problems, MAX_CELLS if output else 0):
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
    if problems.last is not None:
        raise problems.last


def _read_batches(
    paths: Iterable[Path | str], predictor: Predictor, problems: _Problems, pictures: int
) -> Iterator[list[tuple[str, Tensor, Any]]]:
    """Return path, input and thumbnail of what can be read, a batch at a time; `pictures` of them have one."""
    from zoo.data.images import read_image
    from zoo.models.blame import blame_model

    batch: list[tuple[str, Tensor, Any]] = []
    size = max(1, min(BATCH, BATCH_VALUES // prod(predictor.input_shape)))
    # Not in the loop: `find_images` raises what it could not list after its last image.
    with problems.catch():
        for path in paths:
            with problems.catch():
                pixels = read_image(path)
                with blame_model(predictor.weights):
                    (inputs,) = predictor.inputs.make(predictor.inputs.fit_picture(pixels))
                batch.append((str(path), inputs, make_thumbnail(pixels) if pictures > 0 else None))
                pictures -= 1
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


class _Problems:
    """What is wrong with single images: said when the next one is met; the last one, raised, ends the command."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.last: ZooError | None = None

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Go on after a ZooError raised inside."""
        try:
            yield
        except ZooError as error:
            for problem in error.problems:
                if self.last is not None:
                    write_error(self.last, as_json=self.as_json)
                self.last = problem


@contextmanager
def _warning_once() -> Iterator[None]:
    """Let each warning of the library through once: every batch may bring it again, with other numbers in it."""
    seen = set()

    def is_new(record: logging.LogRecord) -> bool:
        known = record.levelno >= logging.WARNING and record.msg in seen
        seen.add(record.msg)
        return not known

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


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
