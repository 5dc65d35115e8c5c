"""Reading: torchvision's data sets as splits of zoo, tensors of the small ones and pictures of the large ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from zoo import DataError, ImageFiles, Preprocess, ZooError

PHOTOGRAPHS = Preprocess(resize=256, crop=(224, 224), rounded=True)
"""What photographs of any size become, one at a time."""
EVERY = 5
"""One sample in so many is for the test where a data set has no test split of its own."""


def files_of(root: Path, name: str) -> Path:
    """Return the folder in which the files of a data set are."""
    return Path(root, "torchvision", name)


class Pictures(Dataset[tuple[Image.Image, int]]):
    """A split of a data set of torchvision: pictures of one mode, and the numbers of their classes.

    `source[index]` gives a picture and anything else; its class is `targets[index]`. `chosen` are the indices of the
    samples that make up the split, all of them where it is None.
    """

    def __init__(
        self, source: Any, targets: Sequence[int], chosen: Sequence[int] | None = None, mode: str = "RGB"
    ) -> None:
        self.source, self.mode = source, mode
        self.indices = numpy.arange(len(targets)) if chosen is None else numpy.asarray(chosen, dtype=numpy.int64)
        self.targets: list[int] = numpy.asarray(targets, dtype=numpy.int64)[self.indices].tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return the picture and the class of a sample; what torchvision raises goes through."""
        return self.source[int(self.indices[index])][0].convert(self.mode), self.targets[index]


def as_files(source: Any, targets: Sequence[int]) -> ImageFiles:
    """Return a split of a data set that lists its files: zoo decodes them once and keeps them. All must be readable."""
    files = getattr(source, "_image_files", None) or getattr(source, "_images", None)
    if files is None:
        samples = source._samples if hasattr(source, "_samples") else source.samples
        files = [path for path, _ in samples]
    return ImageFiles(files, [int(target) for target in targets], strict=True)


def divide(targets: Sequence[int]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Return the indices of the samples to train on and of those to test on, one in EVERY, the same at each call.

    The samples are shuffled, sorted by their classes, and every fifth is taken: each class gives a fifth of its own, up
    to one more or less.
    """
    random = numpy.random.RandomState(0)  # numpy has promised never to change its stream
    shuffled = random.permutation(len(targets))
    ordered = shuffled[numpy.argsort(numpy.asarray(targets, dtype=numpy.int64)[shuffled], kind="stable")]
    test = numpy.zeros(len(targets), dtype=bool)
    test[ordered[EVERY - 1 :: EVERY]] = True
    return numpy.flatnonzero(~test), numpy.flatnonzero(test)


def make_tensors(images: Tensor | NDArray[numpy.uint8], targets: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    """Return images `(N, C, H, W)` and targets `(N,)`; grey images may lack the axis of their one channel."""
    pixels = images if isinstance(images, Tensor) else torch.from_numpy(numpy.ascontiguousarray(images))
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    numbers = targets if isinstance(targets, Tensor) else torch.from_numpy(numpy.array(targets, dtype=numpy.int64))
    return pixels.contiguous(), numbers.to(torch.int64)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what torchvision's readers raise into a DataError that names the folder they read."""
    try:
        yield
    except (ZooError, MemoryError):
        raise
    except Exception as error:
        fix = f"Delete {folder} to have it made anew"
        raise DataError(f"torchvision cannot read {folder}", f"{type(error).__name__}: {error}", fix) from error
