"""MNIST and what has its form: 60,000 grey pictures to train and 10,000 to test, 28 x 28, in ten classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zoo import DataError, DataSplits
from zoo_plugins.datasets.idx import read_idx

DIGITS = tuple("0123456789")
# The syllables of the ten rows of the Japanese syllabary, in the order of the targets.
SYLLABLES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
SIDE = 28


def mnist(*, root: str | Path) -> DataSplits:
    """Read the handwritten digits: uint8 images `(N, 1, 28, 28)` and int64 targets `(N,)`.

    Args:
        root: The data folder that holds `MNIST/raw`, as torchvision lays it out.

    Raises:
        DataError: a file is not there, damaged, or does not belong to the others.
    """
    return read_splits(Path(root, "MNIST", "raw"), DIGITS)


def kmnist(*, root: str | Path) -> DataSplits:
    """Read the cursive Japanese syllables: uint8 images `(N, 1, 28, 28)` and int64 targets `(N,)`.

    Args:
        root: The data folder that holds `KMNIST/raw`, as torchvision lays it out.

    Raises:
        DataError: a file is not there, damaged, or does not belong to the others.
    """
    return read_splits(Path(root, "KMNIST", "raw"), SYLLABLES)


def read_splits(folder: Path, class_names: Sequence[str]) -> DataSplits:
    """Read the four files of a folder; an unpacked one is preferred to the `.gz` beside it: there is nothing to unpack.

    Raises:
        DataError: a file is not there, damaged, or does not belong to the others.
    """
    return DataSplits(
        train=_read_split(folder, "train"), test=_read_split(folder, "t10k"), class_names=tuple(class_names)
    )


def _read_split(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    images_path = _choose(folder / f"{split}-images-idx3-ubyte")
    targets_path = _choose(folder / f"{split}-labels-idx1-ubyte")
    images, targets = read_idx(images_path), read_idx(targets_path)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"cannot use {images_path}", f"expected images of {SIDE} x {SIDE}, got {tuple(images.shape)}")
    if targets.shape != images.shape[:1]:
        raise DataError(
            f"cannot use {targets_path}", f"expected {len(images)} labels, got the shape {tuple(targets.shape)}"
        )
    return images.unsqueeze(1), targets.to(torch.int64)


def _choose(path: Path) -> Path:
    return path if path.exists() else path.with_name(f"{path.name}.gz")
