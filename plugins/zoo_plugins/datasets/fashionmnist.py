"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28, in ten classes."""

from __future__ import annotations

from pathlib import Path

from zoo import DataSplits
from zoo_plugins.datasets.mnist import read_splits

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


def fashionmnist(*, root: str | Path) -> DataSplits:
    """Read the data set: uint8 images `(N, 1, 28, 28)` and int64 targets `(N,)`, 60,000 to train and 10,000 to test.

    An unpacked file is preferred to the `.gz` beside it: there is nothing to unpack.

    Args:
        root: The data folder that holds `FashionMNIST/raw`.

    Raises:
        DataError: a file is not there, damaged, or does not belong to the others.
    """
    return read_splits(Path(root) / FOLDER, CLASS_NAMES)
