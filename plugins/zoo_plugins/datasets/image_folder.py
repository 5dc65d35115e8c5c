"""Pictures of one's own: a folder for each class, with or without folders of splits above them, or a list in a file.

The test split, where there is none, is drawn class by class: pictures come in the order of the SHA-256 of the seed and
their path, and the first share of each class is held back. So it depends on neither the seed of a run nor the order in
which a disk lists its files, and a new picture moves few others.
"""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from zoo import DataError, DataSplits, ImageFiles, Preprocess, UsageError
from zoo_plugins.datasets.picture_list import LISTS, SPLITS, Picture, read_list

log = logging.getLogger("zoo")

NAMED = 3
"""Files that a message names."""
PACKED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""How the names of files end in which other files are."""


def image_folder(
    *,
    root: str | Path,
    path: str = "",
    test: float = 0.2,
    seed: int = 0,
    size: int = 224,
    channels: int = 3,
    strict: bool = False,
    cache: bool = True,
    budget: float = 20.0,
) -> DataSplits:
    """Read pictures of one's own: picture files of any sizes, uint8 `(C, H, W)`, and their classes.

    `path` is a folder with a folder for each class; or with `train`, `validation` (or `val`, `valid`) and `test` above
    these; or a `.csv` or `.jsonl` file with `path` (from the folder of the file), `label` and, if you like, `split`.
    Classes are numbered in the order of their names.

    Args:
        root: The data folder; not used.
        path: The folder or the list.
        test: The share of each class that is held back as the test split, where there is none.
        seed: Which pictures these are.
        size: Pixels of a side of the inputs: pictures are resized to it by their shorter side, the middle is kept.
        channels: 3, or 1 for grey.
        strict: Whether one picture that cannot be read is an error; else up to one in twenty are left out.
        cache: Whether decoded pictures are kept on the disk.
        budget: Gigabytes that kept pictures may take at most, those of all data sets together.

    Raises:
        UsageError: no path is given.
        DataError: there is nothing to train on, or the folders or the list do not say clearly what is meant.
    """
    if not 0 < test < 1:
        raise ValueError(f"test: expected a share between 0 and 1, got {test}")
    if size < 1:
        raise ValueError(f"size: expected pixels, got {size}")
    if not path:
        fix = "Give it in the place of the name: dataset='./photos'"
        raise UsageError("pictures of one's own need the path of their folder", fix=fix)
    source = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 a link is a place of its own
    pictures = _read_source(source)
    pictures = _check_classes(source, sorted(pictures, key=lambda picture: (picture.label, picture.place)))
    if not any(picture.split == "test" for picture in pictures):
        pictures = _hold_back(source, pictures, test, seed)
    class_names = sorted({picture.label for picture in pictures})
    numbers = {name: number for number, name in enumerate(class_names)}
    splits = {}
    for split in SPLITS:
        chosen = [picture for picture in pictures if picture.split == split]
        if chosen:
            splits[split] = ImageFiles(
                [picture.file for picture in chosen],
                [numbers[picture.label] for picture in chosen],
                channels=channels,
                strict=strict,
                cache=cache,
                budget=budget,
            )
    preprocess = Preprocess(resize=size, crop=(size, size), rounded=True)
    return DataSplits(class_names=class_names, preprocess=preprocess, **splits)


def _read_source(source: Path) -> list[Picture]:
    """Return the pictures of a folder or a list; those without a split have an empty one."""
    if source.suffix.lower() in LISTS and not source.is_dir():
        return read_list(source)
    if not source.is_dir():
        what = "no such folder" if not os.path.lexists(source) else "expected a folder, or a .csv or .jsonl file"
        raise DataError(str(source), what, "Unpack it first" if source.suffix.lower() in PACKED else "")
    folders, files = _list(source)
    splits = {folder: split for folder in folders if (split := _find_split(folder.name))}
    if set(splits.values()) == {"train"} or "train" not in splits.values() or len(splits) < 2:
        # A class may be called train, or test.
        splits = splits if len(splits) == len(folders) and splits else {}
    if not splits:
        return _read_classes(source, folders, files, "")
    if others := [folder for folder in folders if folder not in splits]:
        why = f"{_name(others)} lies beside the splits {_name(splits)}"
        raise DataError(str(source), why, "Move it into the folder of a split")
    if files:
        raise DataError(str(source), f"{_name(files)} lies beside the splits {_name(splits)}", "Move it into a class")
    twice = [split for split, count in Counter(splits.values()).items() if count > 1]
    if twice:
        same = [folder for folder, split in splits.items() if split == twice[0]]
        raise DataError(str(source), f"{_name(same)} are both the {twice[0]} split", "Put them together")
    return [picture for folder, split in splits.items() for picture in _read_classes(folder, *_list(folder), split)]


def _find_split(name: str) -> str:
    """Return the split that a folder of this name is, or nothing."""
    names = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
    return {**names, "validation": "validation", "test": "test", "testing": "test"}.get(name.lower(), "")


def _read_classes(source: Path, folders: Sequence[Path], files: Sequence[Path], split: str) -> list[Picture]:
    """Return the pictures of the folders of classes in one folder."""
    if not folders:
        what = "it has pictures, and no folders of classes" if files else "it has no folders of classes"
        raise DataError(str(source), what, "Put the pictures of each class into a folder that is called after it")
    if files:
        what = f"{_name(files)} lies beside the folders of the classes"
        raise DataError(str(source), what, "Move it into the folder of its class")
    pictures: list[Picture] = []
    ignored: list[Path] = []
    labels: list[str] = []
    for folder in folders:
        found = _walk(folder)
        kept = [file for file in found if ImageFiles.is_picture(file.name)]
        ignored += [file for file in found if not ImageFiles.is_picture(file.name)]
        if not kept:
            what = f"class {_read_name(folder)!r} has no pictures"
            raise DataError(str(source), what, "Remove the folder, or put pictures into it")
        label = _read_name(folder)
        if label in labels:
            raise DataError(str(source), f"two folders are called {label!r}", "Put them together")
        labels.append(label)
        for file in kept:
            place = "/".join((label, split, *file.relative_to(folder).parts))
            place = unicodedata.normalize("NFC", place)
            pictures.append(Picture(file=file, label=label, split=split, place=place))
    if ignored:
        log.info("%s: ignored what is no picture by its name: %s", source, _name(ignored))
    return pictures


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of a folder, and its pictures; links count as what they lead to, hidden names do not."""
    try:
        there = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        folders = [entry for entry in there if entry.is_dir()]
    except OSError as error:
        raise DataError(str(folder), f"cannot be listed: {error.strerror}") from error
    return folders, [entry for entry in there if ImageFiles.is_picture(entry.name) and not entry.is_dir()]


def _walk(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted; hidden ones and links to folders are left out."""
    unlisted: list[OSError] = []
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=unlisted.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(files) if not name.startswith(".")]
    if unlisted:
        raise DataError(str(unlisted[0].filename), f"cannot be listed: {unlisted[0].strerror}")
    return found


def _read_name(folder: Path) -> str:
    """Return the name of a class: the same characters however a disk composes them."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise DataError(repr(str(folder)), "its name is not Unicode", "Rename the folder") from None
    return unicodedata.normalize("NFC", folder.name)


def _check_classes(source: Path, pictures: list[Picture]) -> list[Picture]:
    """Return the pictures, each in a split; raise DataError where the classes do not make a task."""
    names = sorted({picture.label for picture in pictures})
    if len(names) < 2:
        inner = [folder for folder in _list(source / names[0])[0] if _walk(folder)] if source.is_dir() and names else []
        fix = f"Did you mean {source / names[0]}?" if len(inner) > 1 else "Put the pictures of each class in a folder"
        raise DataError(str(source), f"it has one class ({names[0]!r})" if names else "it has no pictures", fix)
    same: dict[str, str] = {}
    for name in names:
        other = same.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            what = f"the classes {other!r} and {name!r} differ in upper and lower case alone"
            raise DataError(str(source), what, "Rename one, or put them together")
    pictures = [replace(picture, split=picture.split or "train") for picture in pictures]
    there = {split: {picture.label for picture in pictures if picture.split == split} for split in SPLITS}
    if not there["train"]:
        raise DataError(str(source), "it has no training split", f"It has: {', '.join(s for s in SPLITS if there[s])}")
    for split in ("validation", "test"):
        if new := sorted(there[split] - there["train"]):
            what = f"class {new[0]!r} is in the {split} split, and not in the training split"
            raise DataError(str(source), what, "Give training pictures of it")
        if there[split] and source.is_dir() and (missing := sorted(there["train"] - there[split])):
            what = f"class {missing[0]!r} is in the training split, and not in the {split} split"
            raise DataError(str(source), what, f"Give {split} pictures of it")
    return pictures


def _hold_back(source: Path, pictures: list[Picture], share: float, seed: int) -> list[Picture]:
    """Return the pictures with a share of the training pictures of each class, at least one, in the test split."""
    held: set[Path] = set()
    for label in sorted({picture.label for picture in pictures}):
        own = [picture for picture in pictures if picture.label == label and picture.split == "train"]
        if len(own) < 2:
            what = f"class {label!r} has one training picture, and a test split needs another one"
            raise DataError(str(source), what, "Give more pictures, or leave the class out")
        own.sort(key=lambda picture: hashlib.sha256(f"{seed}/{picture.place}".encode(errors="surrogatepass")).digest())
        count = min(max(1, round(share * len(own))), len(own) - 1)
        held.update(picture.file for picture in own[:count])
    return [replace(picture, split="test") if picture.file in held else picture for picture in pictures]


def _name(paths: Iterable[Path]) -> str:
    """Return the names of a few paths."""
    names = [repr(path.name) for path in paths]
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
