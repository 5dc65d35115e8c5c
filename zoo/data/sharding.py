"""Sharding: a data set written to tar files of a given size, with an index and checksums."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.loading import open_dataset
from zoo.data.shard_writing import ShardWriter, Source
from zoo.data.splits import hash_splits
from zoo.data.unfinished import Unfinished
from zoo.display import align, say
from zoo.errors import SettingError, StorageError, UsageError
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.inventory import show_size
from zoo.registry.places import open_places
from zoo.registry.shards import ShardFile
from zoo.storage.reading import explain

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
LEAST, USUAL = 10_000, "256MB"
"""Bytes that a shard may be asked to have at least; the size unless told otherwise, as webdataset advises."""
FIX = "Give another folder with output=..."


@dataclass(frozen=True, kw_only=True, repr=False)
class Sharding:
    """What was written.

    Fields:
        folder: Where.
        dataset: The name of the data set.
        splits: Of each split its files: how many samples and bytes each has, and its SHA-256.
    """

    folder: Path
    dataset: str
    splits: Mapping[str, tuple[ShardFile, ...]]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of a table: its head, and a split each."""
        told: list[tuple[str, ...]] = [("split", "samples", "shards", "size")]
        for name, files in self.splits.items():
            samples, size = sum(file.samples for file in files), sum(file.size for file in files)
            told.append((name, f"{samples:,}", f"{len(files):,}", show_size(size)))
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        splits = {name: [vars(file) for file in files] for name, files in self.splits.items()}
        return {"folder": str(self.folder), "dataset": self.dataset, "splits": splits}

    def __repr__(self) -> str:
        return say("Sharding", f"{self.dataset} in {self.folder}") + f"\n{align(self.rows)}"


@checked
def data_shard(
    dataset: str,
    output: str | Path,
    *,
    size: str | int = USUAL,
    seed: int = 0,
    dataset_params: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Sharding:
    """Write a data set to tar files of about `size`, in the format of webdataset; `read_shards` reads them.

    `output` is a folder that is not there yet, or is empty: it appears when all is written. Where that was stopped or
    killed, the same call goes on behind the tar files that were whole; those of a stream are written anew. Training
    samples lie in an order that `seed` draws, so that a few shards at a time are as mixed as all; a stream is written
    as it comes. Their numbers stay those of the data set. Pictures that cannot be read are left out, with a warning.

    Raises:
        UnknownNameError, UsageError: no such data set, a size that is none, a folder that has files, or that was begun
            with something else.
        DataError, DownloadError, PluginError: the data cannot be had or used.
        StorageError: the disk has too little room, or fails; another process writes there.
    """
    most = read_size(size)
    folder = Path(output).expanduser().absolute()
    _refuse_taken(folder)
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline)
    entry, splits = open_dataset(dataset, dataset_params, places)
    sources = {name: Source.of(split) for name, split in splits.items()}
    params = {name: str(value) for name, value in (dataset_params or {}).items()}  # a command line gives texts
    asked = {"dataset": entry.name, "params": params, "size": most, "seed": seed}
    asked |= {"samples": {name: source.samples for name, source in sources.items()}, "data": hash_splits(splits)}
    unfinished = Unfinished(folder, asked, FIX)
    with unfinished.held():
        _refuse_taken(folder)  # by another process, a moment ago
        writer = ShardWriter(entry.name, splits, sources, most, seed)
        writer.kept = unfinished.find_whole(writer.is_right)
        kept = [whole.file for shards in writer.kept.values() for whole in shards]
        _check_room(folder, sum(source.measure() for source in sources.values()) - sum(file.size for file in kept))
        unfinished.write(writer.write(unfinished.note), kept)
    told = {name: split.shards for name, split in writer.made.items()}
    return Sharding(folder=folder, dataset=entry.name, splits=told)


def read_size(size: str | int) -> int:
    """Return a size in bytes, `256MB` say; raise SettingError for what is none, or is too small."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b|b|)\s*", str(size), re.IGNORECASE)
    count = int(float(found[1]) * UNITS[found[2].lower()]) if found else 0
    if count < LEAST:
        raise SettingError("size", f"must be a size such as 256MB or 1GB, at least {LEAST:,} bytes", size)
    return count


def _refuse_taken(folder: Path) -> None:
    try:
        taken = "it is no folder" if not folder.is_dir() else "it has files" if any(folder.iterdir()) else ""
    except OSError as error:
        raise StorageError(f"cannot look into {folder}", explain(error), FIX) from error
    if taken and (folder.exists() or folder.is_symlink()):
        raise UsageError(f"shards cannot be written to {folder}", taken, FIX)


def _check_room(folder: Path, needed: int) -> None:
    there = next(parent for parent in folder.parents if parent.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise StorageError(f"cannot look at {there}", explain(error), FIX) from error
    if needed > free:
        why = f"about {needed / 1e6:,.1f} MB to write, {free / 1e6:,.1f} MB free"
        raise StorageError(f"cannot save shards to {folder}", why, f"Free some space. {FIX}")
