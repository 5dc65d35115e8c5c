"""The small data sets of torchvision, read into memory: uint8 images `(N, C, H, W)` and int64 targets `(N,)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torchvision import datasets

from zoo import DataSplits
from zoo_plugins.torchvision.archives import lay_out, place, unpack
from zoo_plugins.torchvision.reading import divide, explained, files_of, make_tensors

DIGITS = tuple("0123456789")
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
MNIST_FILES = tuple(
    f"{split}-{part}-ubyte.gz" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")
)
QMNIST_FILES = tuple(
    f"qmnist-{split}-{part}.gz" for split in ("train", "test") for part in ("images-idx3-ubyte", "labels-idx2-int")
)
EmnistSplit = Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"]


def mnist(*, root: Path) -> DataSplits:
    """Read MNIST."""
    return _read_mnist(datasets.MNIST, root, DIGITS)


def kmnist(*, root: Path) -> DataSplits:
    """Read Kuzushiji-MNIST."""
    return _read_mnist(datasets.KMNIST, root, datasets.KMNIST.classes)


def fashionmnist(*, root: Path) -> DataSplits:
    """Read Fashion-MNIST."""
    return _read_mnist(datasets.FashionMNIST, root, datasets.FashionMNIST.classes)


def qmnist(*, root: Path) -> DataSplits:
    """Read QMNIST, MNIST with all 60,000 test images."""
    folder = lay_out(files_of(root, "qmnist"), dict.fromkeys(QMNIST_FILES, "QMNIST/raw"))
    with explained(folder):
        parts = [datasets.QMNIST(folder, what=what) for what in ("train", "test")]
        train, test = (make_tensors(part.data, part.targets[:, 0]) for part in parts)
        return DataSplits(train=train, test=test, class_names=DIGITS)


def _read_mnist(reader: Any, root: Path, class_names: Any) -> DataSplits:
    raw = f"{reader.__name__}/raw"
    folder = lay_out(files_of(root, reader.__name__.lower()), dict.fromkeys(MNIST_FILES, raw))
    with explained(folder):
        parts = [reader(folder, train=train) for train in (True, False)]
        train, test = (make_tensors(part.data, part.targets) for part in parts)
        return DataSplits(train=train, test=test, class_names=class_names)


def emnist(*, root: Path, split: EmnistSplit = "balanced") -> DataSplits:
    """Read EMNIST, handwritten letters and digits; its images are stored with rows and columns exchanged.

    Args:
        root: The data folder.
        split: One of its six ways to make classes of letters and digits.
    """
    names = [f"emnist-{split}-{part}" for part in ("train", "test")]
    wanted = {f"{name}-{kind}-ubyte.gz" for name in names for kind in ("images-idx3", "labels-idx1")}

    def finish(stage: Path) -> None:
        unpack(files / "gzip.zip", stage, lambda name: name.rpartition("/")[2] in wanted)
        for file in (stage / "gzip").iterdir():
            place(file, stage / "EMNIST" / "raw")

    files = files_of(root, "emnist")
    folder = lay_out(files, {"gzip.zip": None}, finish, variant=split)
    with explained(folder):
        parts = [datasets.EMNIST(folder, split=split, train=train) for train in (True, False)]
        first = 1 if split == "letters" else 0  # letters are numbered from 1 on
        train, test = (make_tensors(part.data, part.targets - first) for part in parts)
        return DataSplits(train=train, test=test, class_names=parts[0].classes[first:])


def cifar10(*, root: Path) -> DataSplits:
    """Read CIFAR-10 from its pickles, each of which torchvision compares with an MD5 before."""
    return _read_cifar(datasets.CIFAR10, root)


def cifar100(*, root: Path) -> DataSplits:
    """Read CIFAR-100, the fine classes, from its pickles, each of which torchvision compares with an MD5 before."""
    return _read_cifar(datasets.CIFAR100, root)


def _read_cifar(reader: Any, root: Path) -> DataSplits:
    folder = lay_out(files_of(root, reader.__name__.lower()), {reader.filename: ""})
    with explained(folder):
        parts = [reader(folder, train=train) for train in (True, False)]
        train, test = (make_tensors(part.data.transpose(0, 3, 1, 2), part.targets) for part in parts)
        return DataSplits(train=train, test=test, class_names=parts[0].classes)


def svhn(*, root: Path) -> DataSplits:
    """Read SVHN, house numbers, without its extra training images."""
    folder = files_of(root, "svhn")
    with explained(folder):
        parts = [datasets.SVHN(folder, split=split) for split in ("train", "test")]
        train, test = (make_tensors(part.data, part.labels) for part in parts)
        return DataSplits(train=train, test=test, class_names=DIGITS)


def stl10(*, root: Path) -> DataSplits:
    """Read STL-10, its labelled images."""
    folder = lay_out(files_of(root, "stl10"), {datasets.STL10.filename: ""})
    with explained(folder):
        parts = [datasets.STL10(folder, split=split) for split in ("train", "test")]
        train, test = (make_tensors(part.data, part.labels) for part in parts)
        return DataSplits(train=train, test=test, class_names=parts[0].classes)


def usps(*, root: Path) -> DataSplits:
    """Read USPS, digits of postal codes."""
    folder = files_of(root, "usps")
    with explained(folder):
        parts = [datasets.USPS(folder, train=train) for train in (True, False)]
        train, test = (make_tensors(part.data, part.targets) for part in parts)
        return DataSplits(train=train, test=test, class_names=DIGITS)


def semeion(*, root: Path) -> DataSplits:
    """Read SEMEION, handwritten digits; a fifth of each is for the test."""
    folder = files_of(root, "semeion")
    with explained(folder):
        images, targets = make_tensors((part := datasets.SEMEION(folder, download=False)).data, part.labels)
        train, test = ((images[chosen], targets[chosen]) for chosen in divide(part.labels))
        return DataSplits(train=train, test=test, class_names=DIGITS)


def fer2013(*, root: Path) -> DataSplits:
    """Read FER2013, faces and their emotions, from the one of its files that has the labels of the test images."""
    folder = Path(root, "torchvision")
    with explained(folder / "fer2013"):
        parts = [datasets.FER2013(folder, split=split)._samples for split in ("train", "test")]
        train, test = (
            make_tensors(torch.stack([image for image, _ in part]), [label for _, label in part]) for part in parts
        )
        return DataSplits(train=train, test=test, class_names=EMOTIONS)
