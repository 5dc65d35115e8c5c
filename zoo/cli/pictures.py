"""Pictures: those that a command reads for a model, a batch at a time; what cannot be read is said, and left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.cli.grid import make_thumbnail
from zoo.cli.output import write_error
from zoo.errors import DataError, ErrorCollector, ZooError, quote
from zoo.registry.places import open_places

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zoo.models.predictor import Predictor
    from zoo.registry.entries import Registry

BATCH_VALUES = 1 << 24
"""Values that are worked on at once: of large inputs fewer images make a batch, so that rows come soon."""

log = logging.getLogger("zoo")


def find_both(
    reference: str, images: Iterable[str], registry: Registry, *, runs_dir: str | None, offline: bool | None
) -> tuple[Path, Iterator[Path | str]]:
    """Return the weights file and the image files.

    What is wrong with either is said together: who mixed them up is told more by both.
    """
    from zoo.data.images import find_images
    from zoo.models.references import find_weights

    errors = ErrorCollector()
    with errors.catch():
        path = find_weights(reference, open_places(registry, runs_dir=runs_dir, offline=offline))
    with errors.catch():
        paths = find_images(images)
    errors.raise_any()
    return path, paths


def load_for_pictures(reference: str, path: Path, registry: Registry, *, device: str, memory_format: str) -> Predictor:
    """Return a predictor that takes pictures.

    Raises:
        DataError: its inputs are no pictures.
    """
    from zoo.models.predictor import load

    predictor = load(path, registry=registry, device=device, memory_format=memory_format)
    if len(predictor.weights.raw_image.shape) != 3:
        shape = "x".join(map(str, predictor.weights.raw_image.shape))
        raise DataError(f"{quote(reference)} is for inputs of shape {shape}", "an image has channels, height and width")
    return predictor


def read_batches(
    paths: Iterable[Path | str], predictor: Predictor, problems: Problems, pictures: int = 0
) -> Iterator[list[tuple[str, Tensor, Any]]]:
    """Return path, input and thumbnail of what can be read, a batch at a time; `pictures` of them have one."""
    from zoo.data.images import read_image
    from zoo.models.blame import blame_model
    from zoo.models.predictor import BATCH

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


class Problems:
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

    def raise_last(self) -> None:
        """Raise the last one, where there is one."""
        if self.last is not None:
            raise self.last


@contextmanager
def warning_once() -> Iterator[None]:
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
