"""The large data sets of torchvision that have no test split: a fifth of each class is taken for it, see `divide`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset
from torchvision import datasets

from zoo import DataSplits, ImageFiles, Preprocess
from zoo_plugins.torchvision.archives import lay_out, link, place, unpack
from zoo_plugins.torchvision.reading import PHOTOGRAPHS, Pictures, divide, explained, files_of


def caltech101(*, root: Path) -> DataSplits:
    """Read Caltech 101 without its background pictures; a fifth of each class is for the test."""
    files = files_of(root, "caltech101")

    def finish(stage: Path) -> None:
        unpack(files / "caltech-101.zip", stage, lambda name: name.endswith("/101_ObjectCategories.tar.gz"))
        place(stage / "caltech-101" / "101_ObjectCategories.tar.gz", stage / "caltech101")
        (stage / "caltech-101" / "101_ObjectCategories.tar.gz").unlink()

    folder = lay_out(files, {"caltech-101.zip": None}, finish)
    with explained(folder):
        source = datasets.Caltech101(folder)
        pairs = zip(source.y, source.index, strict=True)
        names = [Path(source.categories[target], f"image_{number:04d}.jpg") for target, number in pairs]
        return _divide_files(Path(source.root, "101_ObjectCategories"), names, source.y, source.categories)


def caltech256(*, root: Path) -> DataSplits:
    """Read Caltech 256 with its class of clutter; a fifth of each class is for the test."""
    folder = lay_out(files_of(root, "caltech256"), {"256_ObjectCategories.tar": "caltech256"})
    with explained(folder):
        source = datasets.Caltech256(folder)
        pairs = zip(source.y, source.index, strict=True)
        names = [Path(source.categories[target], f"{target + 1:03d}_{number:04d}.jpg") for target, number in pairs]
        return _divide_files(Path(source.root, "256_ObjectCategories"), names, source.y, source.categories)


def eurosat(*, root: Path) -> DataSplits:
    """Read EuroSAT, land seen by a satellite in red, green and blue; a fifth of each class is for the test."""
    folder = lay_out(files_of(root, "eurosat"), {"EuroSAT.zip": "eurosat"})
    with explained(folder):
        source = datasets.EuroSAT(folder)
        return _divide(source, source.targets, source.classes, preprocess=None)


def sun397(*, root: Path) -> DataSplits:
    """Read SUN397, scenes; a fifth of each class is for the test."""
    folder = lay_out(files_of(root, "sun397"), {"SUN397.tar.gz": ""})
    with explained(folder):
        source = datasets.SUN397(folder)
        order = sorted(range(len(source)), key=lambda index: source._image_files[index].as_posix())
        return _divide(source, source._labels, source.classes, order)


def omniglot(*, root: Path) -> DataSplits:
    """Read Omniglot, all 1,623 characters of fifty alphabets; four of the twenty drawings of each are for the test."""
    files, archives = files_of(root, "omniglot"), ("images_background.zip", "images_evaluation.zip")

    def finish(stage: Path) -> None:
        for archive in archives:
            unpack(files / archive, stage / "omniglot-py")
            link(files / archive, stage / "omniglot-py")  # torchvision compares its MD5 each time

    folder = lay_out(files, dict.fromkeys(archives, None), finish)
    with explained(folder):
        parts = [datasets.Omniglot(folder, background=background) for background in (True, False)]
        drawn = [(part._characters[at], image) for part in parts for image, at in part._flat_character_images]
        names = sorted({name for name, _ in drawn})
        numbers = {name: index for index, name in enumerate(names)}
        order = sorted(range(len(drawn)), key=drawn.__getitem__)
        targets = [numbers[name] for name, _ in drawn]
        return _divide(ConcatDataset(parts), targets, names, order, preprocess=None, mode="L")


def lfw(*, root: Path, min_images: int = 20) -> DataSplits:
    """Read the faces of Labeled Faces in the Wild, funneled; a fifth of each person's is for the test.

    Args:
        root: The data folder.
        min_images: Only people with at least so many pictures are classes.
    """
    if min_images < 2:
        raise ValueError(f"min_images: expected at least 2, got {min_images}")
    files = files_of(root, "lfw")

    def finish(stage: Path) -> None:
        unpack(files / "lfw-funneled.tgz", stage / "lfw-py")
        link(files / "lfw-funneled.tgz", stage / "lfw-py")  # torchvision compares its MD5 each time

    layout = {"lfw-funneled.tgz": None, "people.txt": "lfw-py", "lfw-names.txt": "lfw-py"}
    folder = lay_out(files, layout, finish)
    with explained(folder):
        source = datasets.LFWPeople(str(folder), split="10fold", image_set="funneled")
        counts = Counter(source.targets)
        people = [(name, number) for name, number in source.class_to_idx.items() if counts[number] >= min_images]
        numbers = {number: index for index, (_, number) in enumerate(people)}
        chosen = [index for index, number in enumerate(source.targets) if number in numbers]
        targets = [numbers.get(number, 0) for number in source.targets]
        return _divide(source, targets, [name for name, _ in people], chosen, preprocess=None)


def _divide_files(
    folder: Path, names: Sequence[Path], targets: Sequence[int], class_names: Sequence[str]
) -> DataSplits:
    """Return splits of files below a folder, whose pictures zoo keeps decoded."""
    files = ImageFiles([folder / name for name in names], targets, strict=True)
    train, test = (files.take(chosen.tolist()) for chosen in divide(targets))
    return DataSplits(train=train, test=test, class_names=class_names, preprocess=PHOTOGRAPHS)


def _divide(
    source: Any,
    targets: Sequence[int],
    class_names: Sequence[str],
    order: Sequence[int] | None = None,
    preprocess: Preprocess | None = PHOTOGRAPHS,
    mode: str = "RGB",
) -> DataSplits:
    """Return splits of a data set that has none, see `divide`; `order` is that of its samples, by their files."""
    order = range(len(targets)) if order is None else order
    parts = divide([targets[index] for index in order])
    train, test = (Pictures(source, targets, [order[index] for index in chosen], mode) for chosen in parts)
    return DataSplits(train=train, test=test, class_names=class_names, preprocess=preprocess)
