"""The large data sets of torchvision that come in splits, read picture by picture.

Of those that are a list of files, and small enough to be kept decoded, zoo reads the files; of the others torchvision.

Where torchvision knows no classes of a test split, the validation split is the test, as in what is published on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torchvision import datasets
from torchvision.datasets import imagenet as imagenet_archives

from zoo import DataSplits, Preprocess
from zoo_plugins.torchvision.archives import lay_out, link, unpack
from zoo_plugins.torchvision.reading import PHOTOGRAPHS, Pictures, as_files, explained, files_of

AircraftLevel = Literal["variant", "family", "manufacturer"]


def food101(*, root: Path) -> DataSplits:
    """Read Food-101."""
    folder = lay_out(files_of(root, "food101"), {"food-101.tar.gz": ""})
    with explained(folder):
        train, test = (datasets.Food101(folder, split=split) for split in ("train", "test"))
        return _join(train, test, train._labels, test._labels, train.classes)


def flowers102(*, root: Path) -> DataSplits:
    """Read Oxford 102 Flower."""
    files = ("102flowers.tgz", "imagelabels.mat", "setid.mat")
    folder = lay_out(files_of(root, "flowers102"), dict.fromkeys(files, "flowers-102"))
    with explained(folder):
        parts = [datasets.Flowers102(folder, split=split) for split in ("train", "val", "test")]
        train, validation, test = (as_files(part, part._labels) for part in parts)
        names = datasets.Flowers102.classes
        return DataSplits(train=train, validation=validation, test=test, class_names=names, preprocess=PHOTOGRAPHS)


def oxford_iiit_pet(*, root: Path, target: Literal["breed", "species"] = "breed") -> DataSplits:
    """Read the Oxford-IIIT Pet pictures.

    Args:
        root: The data folder.
        target: The 37 breeds, or cat and dog.
    """
    files = dict.fromkeys(("images.tar.gz", "annotations.tar.gz"), "oxford-iiit-pet")
    folder = lay_out(files_of(root, "oxford-iiit-pet"), files)
    with explained(folder):
        train, test = (datasets.OxfordIIITPet(folder, split=split) for split in ("trainval", "test"))
        if target == "species":
            return _join(train, test, train._bin_labels, test._bin_labels, train.bin_classes)
        return _join(train, test, train._labels, test._labels, train.classes)


def gtsrb(*, root: Path) -> DataSplits:
    """Read the German traffic signs; classes have the numbers that the benchmark gives them."""
    files = ("GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip")
    folder = lay_out(files_of(root, "gtsrb"), dict.fromkeys(files, "gtsrb"))
    with explained(folder):
        train, test = (datasets.GTSRB(folder, split=split) for split in ("train", "test"))
        names = sorted(path.name for path in Path(folder, "gtsrb", "GTSRB", "Training").iterdir() if path.is_dir())
        targets = [[target for _, target in part._samples] for part in (train, test)]
        return _join(train, test, *targets, names, Preprocess(resize=(32, 32), rounded=True))


def dtd(*, root: Path, partition: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10] = 1) -> DataSplits:
    """Read the Describable Textures.

    Args:
        root: The data folder.
        partition: Which of its ten ways to split the pictures.
    """
    folder = lay_out(files_of(root, "dtd"), {"dtd-r1.0.1.tar.gz": "dtd"})
    with explained(folder):
        parts = [datasets.DTD(folder, split=split, partition=partition) for split in ("train", "val", "test")]
        train, validation, test = (as_files(part, part._labels) for part in parts)
        names = parts[0].classes
        return DataSplits(train=train, validation=validation, test=test, class_names=names, preprocess=PHOTOGRAPHS)


def fgvc_aircraft(*, root: Path, level: AircraftLevel = "variant") -> DataSplits:
    """Read FGVC Aircraft.

    Args:
        root: The data folder.
        level: What the classes are: 100 variants, 70 families or 30 manufacturers.
    """
    folder = lay_out(files_of(root, "fgvc-aircraft"), {"fgvc-aircraft-2013b.tar.gz": ""})
    with explained(folder):
        splits = ("train", "val", "test")
        parts = [datasets.FGVCAircraft(folder, split=split, annotation_level=level) for split in splits]
        train, validation, test = (as_files(part, part._labels) for part in parts)
        names = parts[0].classes
        return DataSplits(train=train, validation=validation, test=test, class_names=names, preprocess=PHOTOGRAPHS)


def stanford_cars(*, root: Path) -> DataSplits:
    """Read Stanford Cars."""
    files = ("cars_train.tgz", "cars_test.tgz", "car_devkit.tgz", "cars_test_annos_withlabels.mat")
    folder = lay_out(files_of(root, "stanford-cars"), dict.fromkeys(files, "stanford_cars"))
    with explained(folder):
        train, test = (datasets.StanfordCars(folder, split=split) for split in ("train", "test"))
        targets = [[int(target) for _, target in part._samples] for part in (train, test)]
        return _join(train, test, *targets, train.classes)


def places365(*, root: Path) -> DataSplits:
    """Read the pictures of Places365-Standard that are resized to 256 x 256; the validation split is the test."""
    files = ("filelist_places365-standard.tar", "train_256_places365standard.tar", "val_256.tar")

    def finish(stage: Path) -> None:
        (stage / "data_256").rename(stage / "data_256_standard")

    folder = lay_out(files_of(root, "places365"), dict.fromkeys(files, ""), finish)
    with explained(folder):
        train, test = (datasets.Places365(folder, split=split, small=True) for split in ("train-standard", "val"))
        names = sorted(train.class_to_idx, key=train.class_to_idx.__getitem__)
        splits = {"train": Pictures(train, train.targets), "test": Pictures(test, test.targets)}
        return DataSplits(**splits, class_names=names, preprocess=Preprocess(crop=(224, 224)))


def country211(*, root: Path) -> DataSplits:
    """Read Country211."""
    folder = lay_out(files_of(root, "country211"), {"country211.tgz": ""})
    with explained(folder):
        parts = [datasets.Country211(folder, split=split) for split in ("train", "valid", "test")]
        train, validation, test = (as_files(part, part.targets) for part in parts)
        names = parts[0].classes
        return DataSplits(train=train, validation=validation, test=test, class_names=names, preprocess=PHOTOGRAPHS)


def rendered_sst2(*, root: Path) -> DataSplits:
    """Read Rendered SST2, sentences as pictures."""
    folder = lay_out(files_of(root, "rendered-sst2"), {"rendered-sst2.tgz": ""})
    with explained(folder):
        parts = [datasets.RenderedSST2(folder, split=split) for split in ("train", "val", "test")]
        train, validation, test = (as_files(part, [target for _, target in part._samples]) for part in parts)
        names = parts[0].classes
        resize = Preprocess(resize=(224, 224), rounded=True)
        return DataSplits(train=train, validation=validation, test=test, class_names=names, preprocess=resize)


def imagenette(*, root: Path) -> DataSplits:
    """Read Imagenette at full size; the validation split is the test."""
    return _read_imagenette(root, "imagenette", "full", PHOTOGRAPHS)


def imagenette_320(*, root: Path) -> DataSplits:
    """Read Imagenette with 320 pixels at the shorter side; the validation split is the test."""
    return _read_imagenette(root, "imagenette-320", "320px", PHOTOGRAPHS)


def imagenette_160(*, root: Path) -> DataSplits:
    """Read Imagenette with 160 pixels at the shorter side; the validation split is the test."""
    return _read_imagenette(root, "imagenette-160", "160px", Preprocess(resize=160, crop=(160, 160), rounded=True))


def _read_imagenette(root: Path, name: str, size: str, preprocess: Preprocess) -> DataSplits:
    archive = datasets.Imagenette._ARCHIVES[size][0].rpartition("/")[2]
    folder = lay_out(files_of(root, name), {archive: ""})
    with explained(folder):
        train, test = (datasets.Imagenette(folder, split=split, size=size) for split in ("train", "val"))
        targets = [[target for _, target in part._samples] for part in (train, test)]
        return _join(train, test, *targets, [names[0] for names in train.classes], preprocess)


def inaturalist(*, root: Path) -> DataSplits:
    """Read iNaturalist 2021; the validation split is the test."""
    return _read_inaturalist(root, "inaturalist", "train")


def inaturalist_mini(*, root: Path) -> DataSplits:
    """Read iNaturalist 2021 with fifty training pictures of each species; the validation split is the test."""
    return _read_inaturalist(root, "inaturalist-mini", "train_mini")


def _read_inaturalist(root: Path, name: str, archive: str) -> DataSplits:
    def finish(stage: Path) -> None:
        (stage / archive).rename(stage / f"2021_{archive}")
        (stage / "val").rename(stage / "2021_valid")

    folder = lay_out(files_of(root, name), {f"{archive}.tar.gz": "", "val.tar.gz": ""}, finish)
    with explained(folder):
        parts = [datasets.INaturalist(folder, version=f"2021_{part}") for part in (archive, "valid")]
        orders = [sorted(range(len(part)), key=part.index.__getitem__) for part in parts]
        train, test = (
            Pictures(part, [target for target, _ in part.index], order)
            for part, order in zip(parts, orders, strict=True)
        )
        return DataSplits(train=train, test=test, class_names=parts[0].all_categories, preprocess=PHOTOGRAPHS)


def imagenet(*, root: Path) -> DataSplits:
    """Read ImageNet of 2012; the validation split is the test. Classes are called by the first of their names."""
    files = files_of(root, "imagenet")

    def finish(stage: Path) -> None:
        archives = {part: files / name for part, (name, _) in imagenet_archives.ARCHIVE_META.items()}
        link(archives["devkit"], stage)
        imagenet_archives.parse_devkit_archive(stage)  # which writes the names of the classes, from a small archive
        unpack(archives["train"], stage / "train")
        for inner in sorted((stage / "train").glob("*.tar")):
            unpack(inner, inner.with_suffix(""))
            inner.unlink()
        unpack(archives["val"], stage / "val")
        names = imagenet_archives.load_meta_file(stage)[1]
        for name, picture in zip(names, sorted((stage / "val").iterdir()), strict=True):
            (stage / "val" / name).mkdir(exist_ok=True)
            picture.rename(stage / "val" / name / picture.name)

    folder = lay_out(files, dict.fromkeys((name for name, _ in imagenet_archives.ARCHIVE_META.values()), None), finish)
    with explained(folder):
        train, test = (datasets.ImageNet(str(folder), split=split) for split in ("train", "val"))
        names = _tell_apart([names[0] for names in train.classes], train.wnids)
        splits = {"train": Pictures(train, train.targets), "test": Pictures(test, test.targets)}
        return DataSplits(**splits, class_names=names, preprocess=PHOTOGRAPHS)


def _tell_apart(names: Sequence[str], identifiers: Sequence[str]) -> list[str]:
    """Return names, with the identifier after each one that there is twice: cranes are birds and machines."""
    return [
        name if names.count(name) == 1 else f"{name} ({identifier})"
        for name, identifier in zip(names, identifiers, strict=True)
    ]


def clevr(*, root: Path) -> DataSplits:
    """Read CLEVR as a data set of how many objects are in a scene; the validation split is the test."""
    folder = lay_out(files_of(root, "clevr"), {"CLEVR_v1.0.zip": "clevr"})
    with explained(folder):
        train, test = (datasets.CLEVRClassification(folder, split=split) for split in ("train", "val"))
        least, most = min(train._labels), max(train._labels)
        targets = [[label - least for label in part._labels] for part in (train, test)]
        names = [str(number) for number in range(least, most + 1)]
        return _join(train, test, *targets, names, Preprocess(resize=(160, 240), rounded=True))


class _Patches:
    """A split of PatchCamelyon that each process opens for itself: torchvision's reader cannot be sent to another."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.reader: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "reader": None}

    def __getitem__(self, index: int) -> Any:
        """Return the picture and the class of a patch."""
        self.reader = self.reader or datasets.PCAM(self.folder, split=self.split)
        return self.reader[index]

    def read_targets(self) -> list[int]:
        """Return the classes of all patches."""
        from h5py import File

        with File(self.folder / "pcam" / datasets.PCAM._FILES[self.split]["targets"][0]) as file:
            return [int(target) for target in file["y"][:].reshape(-1)]


def pcam(*, root: Path) -> DataSplits:
    """Read PatchCamelyon, patches of tissue with and without metastases."""
    files = [f"{name}.gz" for split in datasets.PCAM._FILES.values() for name, *_ in split.values()]
    folder = lay_out(files_of(root, "pcam"), dict.fromkeys(files, "pcam"))
    with explained(folder):
        parts = [_Patches(folder, split) for split in ("train", "val", "test")]
        train, validation, test = (Pictures(part, part.read_targets()) for part in parts)
        return DataSplits(train=train, validation=validation, test=test, class_names=("normal", "metastasis"))


def _join(
    train: Any,
    test: Any,
    train_targets: Sequence[int],
    test_targets: Sequence[int],
    class_names: Sequence[str],
    preprocess: Preprocess = PHOTOGRAPHS,
) -> DataSplits:
    splits = {"train": as_files(train, train_targets), "test": as_files(test, test_targets)}
    return DataSplits(**splits, class_names=class_names, preprocess=preprocess)
