"""Shards: the manifest of a data set that lies in tar files, which files these are and what they must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.errors import DataError, ErrorCollector, quote
from zoo.limits import MAX_SHARDS
from zoo.registry import fields
from zoo.registry.preprocess import Preprocess
from zoo.registry.verification import check_file
from zoo.storage.reading import explain, read_file

MANIFEST = "shards.json"
"""What the manifest is called; it lies beside the tar files."""
FORMAT = 1
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One file of shards: its name, its bytes, their SHA-256, and how many samples it has or tells the places of.

    The SHA-256 is empty of files that nobody wrote it down of.
    """

    file: str
    size: int
    samples: int
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class ShardSplit:
    """A split: the file that tells where each sample is, and the tar files."""

    index: ShardFile
    shards: tuple[ShardFile, ...]

    @property
    def files(self) -> tuple[ShardFile, ...]:
        """All of its files."""
        return (self.index, *self.shards)


@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """What a folder of shards holds.

    Fields:
        dataset: The name of the data set that was written to them.
        class_names: Its classes, in the order of the targets.
        splits: Its splits by name.
        preprocess: How raw images become inputs, where it says that.
        channels: Of pictures that are kept as they were found, the channels that they are read with.
    """

    dataset: str
    class_names: tuple[str, ...]
    splits: Mapping[str, ShardSplit]
    preprocess: Preprocess | None = None
    channels: int = 3

    @property
    def files(self) -> tuple[ShardFile, ...]:
        """All files but the manifest."""
        return tuple(file for split in self.splits.values() for file in split.files)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file, as JSON data."""
        own: dict[str, Any] = {"format": FORMAT, "dataset": self.dataset, "class_names": list(self.class_names)}
        own |= {"channels": self.channels, "preprocess": self.preprocess and self.preprocess.to_dict()}
        return {**own, "splits": {name: asdict(split) for name, split in self.splits.items()}}


def read_manifest(folder: Path) -> ShardManifest:
    """Return the manifest of a folder.

    Raises:
        DataError: it cannot be read, or is no such manifest; names the file and what is wrong.
    """
    path = folder / MANIFEST
    try:
        told = json.loads(read_file(path, MAX_SHARDS))
    except OSError as error:
        raise DataError(quote(path), f"cannot be read: {explain(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(quote(path), "it is no JSON", "Write the shards anew") from error
    if isinstance(told, dict) and isinstance(told.get("format"), int) and told["format"] > FORMAT:
        raise DataError(quote(path), f"it has format {told['format']}, and this zoo reads {FORMAT}", "Update zoo")
    try:
        return _parse(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(quote(path), f"it is no manifest of shards: {why}") from error


def check_shards(folder: Path) -> ShardManifest:
    """Read all files of a folder of shards and compare them with its manifest, which is returned.

    Raises:
        DataError: some are missing or are other ones: each is named, of a tar file with its number.
        StorageError: one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(quote(folder), "expected a folder of shards" if folder.exists() else "no such folder")
    if not (folder / MANIFEST).exists():
        why = f"it has no {MANIFEST}, which says what its files must be"
        raise DataError(quote(folder), why, "Shards that others wrote have none")
    manifest, errors = read_manifest(folder), ErrorCollector()
    for name, split in manifest.splits.items():
        for number, file in enumerate(split.files, start=-1):
            what = f"{quote(folder / file.file)}, {'the index' if number < 0 else f'shard {number}'} of {name}"
            try:
                there = check_file(folder / file.file, file.size, file.sha256, str(folder), anew=True)
            except DataError as error:
                errors.errors.append(DataError(what, error.why, "Get this file again, or write all shards anew"))
                continue
            if not there:
                errors.errors.append(DataError(what, "it is missing", "Get it again, or write all shards anew"))
    errors.raise_any()
    return manifest


def _parse(told: Any) -> ShardManifest:
    names = fields.read_list("class_names", told["class_names"])
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names: expected two texts or more")
    if told["channels"] not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {told['channels']!r}")
    splits = {}
    for name, split in told["splits"].items():
        if name not in SPLITS:
            raise ValueError(f"splits: expected {', '.join(SPLITS)}, got {name!r}")
        shards = tuple(_parse_file(shard) for shard in fields.read_list("shards", split["shards"]))
        splits[name] = ShardSplit(index=_parse_file(split["index"]), shards=shards)
        if splits[name].index.samples != sum(shard.samples for shard in shards):
            raise ValueError(f"splits: the index of {name} is of other samples than its shards")
    if not {"train", "test"} <= splits.keys():
        raise ValueError("splits: expected train and test")
    steps = told["preprocess"]
    return ShardManifest(
        dataset=str(told["dataset"]),
        class_names=names,
        splits=splits,
        preprocess=None if steps is None else Preprocess.from_dict(steps),
        channels=told["channels"],
    )


def _parse_file(told: Mapping[str, Any]) -> ShardFile:
    file = ShardFile(**told)
    fields.check_relative("file", file.file)
    fields.check_int("size", file.size, 0)
    fields.check_int("samples", file.samples, 0)
    fields.check_sha256("sha256", file.sha256)
    return file
