"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28, in ten classes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zoo import DataError, DataSplits
from zoo_plugins.datasets.idx import read_idx

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# The place of the files under the data folder is that of torchvision, so that one copy serves both.
FOLDER = Path("FashionMNIST", "raw")
SIDE = 28


def fashionmnist(*, root: str | Path) -> DataSplits:
    """Read the data set: uint8 images `(N, 1, 28, 28)` and int64 targets `(N,)`, 60,000 to train and 10,000 to test.

    An unpacked file is preferred to the `.gz` beside it: there is nothing to unpack.

    Args:
        root: The data folder that holds `FashionMNIST/raw`.

    Raises:
        DataError: a file is not there, damaged, or does not belong to the others.
    """
    folder = Path(root) / FOLDER
    return DataSplits(
        train=_read_split(folder, "train"),
        test=_read_split(folder, "t10k"),
        class_names=CLASS_NAMES,
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
