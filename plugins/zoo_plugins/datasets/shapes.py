"""Ten classes of drawn shapes: a data set without files, the same bytes on every machine.

Each image is made from one record of random bytes, by integer arithmetic alone. The bytes come from numpy's legacy
generator, whose stream numpy has promised never to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo import DataSplits

SIDE = 28
MAX_DIFFICULTY = 10
# Coordinates are half pixels from the middle of a shape, so that a shape may be centred between two pixels.
SMALLEST, LARGEST = 12, 17
# The random numbers of one image. Each split reads a stream of its own, so a longer split begins like a shorter one.
RECORD = np.dtype(
    [
        ("order", "<u4"),
        ("place", "<u2", 2),
        ("size", "<u2"),
        ("levels", "<u2", 2),
        ("specks", "<u2", (3, MAX_DIFFICULTY)),
        ("noise", "u1", (SIDE, SIDE)),
    ]
)
# Images drawn at a time, few enough for the cache. It is a multiple of ten, because each ten holds every class and
# because the generator gives words of four bytes, which single records would cut.
CHUNK = 500

Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]


def shapes(
    *, root: str | Path, train_size: int = 5000, test_size: int = 1000, difficulty: int = 4, seed: int = 0
) -> DataSplits:
    """Draw the data set: uint8 images `(N, 1, 28, 28)` and int64 targets `(N,)`.

    Six bright shapes on dark ground and four patterns, of random size, place and brightness, with noise and small
    specks. `root` is not used. A split depends on its own size, `difficulty` and `seed` only, and begins like every
    shorter one; each run of ten images holds every class once.

    Args:
        root: The data folder of the contract.
        train_size: Number of training images.
        test_size: Number of test images.
        difficulty: From 0 (in the middle, faint noise, no specks) to 10 (anywhere, more noise, ten specks).
        seed: Which data set of this kind.

    Raises:
        ValueError: a param is not a whole number or out of range.
    """
    for name, value, low, high in (
        ("train_size", train_size, 1, None),
        ("test_size", test_size, 1, None),
        ("difficulty", difficulty, 0, MAX_DIFFICULTY),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"{name}: expected a whole number {limits}, got {value!r}")
    return DataSplits(
        train=_draw_split(train_size, difficulty, [seed, 0]),
        test=_draw_split(test_size, difficulty, [seed, 1]),
        class_names=CLASS_NAMES,
    )


def _draw_split(size: int, difficulty: int, stream: list[int]) -> tuple[Tensor, Tensor]:
    images = np.empty((size, 1, SIDE, SIDE), np.uint8)
    targets = np.empty(size, np.int64)
    for start, records in _read_records(size, stream):
        labels = np.argsort(records["order"].reshape(-1, len(CLASS_NAMES)), axis=1, kind="stable").reshape(-1)
        count = min(size - start, len(records))
        targets[start : start + count] = labels[:count]
        images[start : start + count, 0] = _draw(records, labels, difficulty)[:count]
    return torch.from_numpy(images), torch.from_numpy(targets)


def _read_records(size: int, stream: list[int]) -> Iterator[tuple[int, NDArray[np.void]]]:
    """Yield records in chunks with their position, up to the end of the ten that hold the last image."""
    random = np.random.RandomState(stream)
    end = -(-size // len(CLASS_NAMES)) * len(CLASS_NAMES)
    for start in range(0, end, CHUNK):
        yield start, np.frombuffer(random.bytes(min(CHUNK, end - start) * RECORD.itemsize), RECORD)


def _between(draws: NDArray[np.uint16], low: int | Ints, high: int | Ints) -> Ints:
    """Scale draws to whole numbers from `low` to `high`."""
    return low + ((draws.astype(np.int32) * (high - low + 1)) >> 16)


def _draw(records: NDArray[np.void], labels: NDArray[np.int64], difficulty: int) -> NDArray[np.uint8]:
    size = _between(records["size"], SMALLEST, LARGEST)
    reach = (SIDE - 1 - size) * difficulty // MAX_DIFFICULTY
    place = _between(records["place"], -reach[:, None], reach[:, None])
    ground, bright = _between(records["levels"], np.array([0, 82]), np.array([11, 140])).T
    # A pattern lights half of the image, a shape a sixth. With equal brightness, training would learn patterns only.
    bright = np.where(labels < FIRST_PATTERN, bright, ground + (bright - ground) // 2)
    axis = 2 * np.arange(SIDE, dtype=np.int32) - (SIDE - 1)
    x, y = axis - place[:, :1], axis - place[:, 1:]

    inside = np.empty((len(records), SIDE, SIDE), np.bool_)
    for label, name in enumerate(CLASS_NAMES):
        chosen = np.flatnonzero(labels == label)
        inside[chosen] = DRAWINGS[name](x[chosen, None, :], y[chosen, :, None], size[chosen, None, None])
    levels: NDArray[np.int16] = np.where(inside, bright[:, None, None], ground[:, None, None]).astype(np.int16)

    image, pair = np.arange(len(records))[:, None, None], np.arange(2)
    for speck in range(difficulty):
        left, top, level = _between(records["specks"][:, :, speck], np.array([0, 0, 33]), np.array([26, 26, 121])).T
        levels[image, top[:, None, None] + pair[:, None], left[:, None, None] + pair] = level[:, None, None]

    strength = 5 + 4 * difficulty
    levels += ((records["noise"].astype(np.int16) - 128) * strength) >> 7
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8)


# Each function tells which points (x, y), counted from the middle of a shape, belong to the shape that extends `size`
# from there. The last four are patterns that fill the image. At random places they light each pixel half of the time,
# so that a linear model can hardly tell them apart.


def _disc(x: Ints, y: Ints, size: Ints) -> Mask:
    return x * x + y * y <= size * size


def _ring(x: Ints, y: Ints, size: Ints) -> Mask:
    return _disc(x, y, size) & ~_disc(x, y, size * 5 // 9)


def _square(x: Ints, y: Ints, size: Ints) -> Mask:
    return (abs(x) <= size) & (abs(y) <= size)


def _frame(x: Ints, y: Ints, size: Ints) -> Mask:
    return _square(x, y, size) & ~_square(x, y, size * 5 // 9)


def _triangle(x: Ints, y: Ints, size: Ints) -> Mask:
    return (2 * abs(x) <= y + size) & (y <= size)


def _cross(x: Ints, y: Ints, size: Ints) -> Mask:
    return _square(x, y, size) & (abs(abs(x) - abs(y)) <= size // 3)


def _rows(x: Ints, y: Ints, size: Ints) -> Mask:
    return _in_stripe(y + 0 * x, size * 2 // 3)


def _columns(x: Ints, y: Ints, size: Ints) -> Mask:
    return _rows(y, x, size)


def _diagonals(x: Ints, y: Ints, size: Ints) -> Mask:
    return _in_stripe(x + y, size * 14 // 15)


def _checkers(x: Ints, y: Ints, size: Ints) -> Mask:
    return ~(_rows(x, y, size) ^ _columns(x, y, size))


def _in_stripe(along: Ints, width: Ints) -> Mask:
    lit: Mask = along // width % 2 == 0
    return lit


DRAWINGS = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "frame": _frame,
    "triangle": _triangle,
    "cross": _cross,
    "rows": _rows,
    "columns": _columns,
    "diagonals": _diagonals,
    "checkers": _checkers,
}
CLASS_NAMES = tuple(DRAWINGS)
FIRST_PATTERN = CLASS_NAMES.index("rows")
