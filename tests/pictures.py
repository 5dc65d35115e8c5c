"""Pictures that tests train on: a colour for each class, so that a few epochs tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
from PIL import Image

COLORS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "fox": (40, 40, 200), "owl": (200, 200, 40)}
SIZES = ((40, 30), (30, 40), (36, 36))


def draw(file: Path, color: Sequence[int] = (200, 40, 40), size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    """Write a picture of one colour and some noise, another one for another seed; the name says in which format."""
    noise = numpy.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise + numpy.array(color)).astype(numpy.uint8)).save(file)
    return file


def make_folder(folder: Path, each: int = 10, classes: Sequence[str] = tuple(COLORS), ends: str = ".png") -> list[Path]:
    """Write so many pictures of each class, of three sizes, into folders of the classes; return the files."""
    return [
        draw(folder / name / f"{number:03}{ends}", COLORS[name], SIZES[number % 3], seed=1000 * index + number)
        for index, name in enumerate(classes)
        for number in range(each)
    ]
