"""Inventory: which files of the registered data sets are in the data folder, and whether they are the right ones."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.display import align, make_table
from zoo.errors import DataError, DownloadError, ErrorCollector
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry
from zoo.registry.fields import make_absolute
from zoo.registry.parts import find_parts
from zoo.registry.paths import is_path
from zoo.registry.places import open_places
from zoo.registry.shards import check_shards
from zoo.registry.specs import DatasetSpec, FileSpec
from zoo.registry.unpacking import check_unpacked
from zoo.registry.verification import check_file, recall

log = logging.getLogger("zoo")

COMPLETE, PART, MISSING, OTHER, NOTHING = "complete", "part", "missing", "other content", "no files"
"""The states of a file, and of a data set; the last one is of a data set that declares no files."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file that a data set declares, and what of it is in the data folder.

    Fields:
        path: Its place under the data folder.
        state: `complete`, `part` (a download that broke off), `missing` or `other content`.
        size: Its size in bytes as it is declared, None where nobody tells it.
        here: How many bytes are there, of its packed and its unpacked form and of the largest part of a download.
        verified: Whether all that is there was read since it last changed, and had the declared checksum.
    """

    path: str
    state: str
    size: int | None
    here: int
    verified: bool


@dataclass(frozen=True, kw_only=True)
class DataState:
    """A data set and what of its files is in the data folder.

    Fields:
        name: Its shortest name.
        state: `complete`, `part`, `missing`, `other content` (of any file), or `no files` where it declares none.
        files: Its files.
    """

    name: str
    state: str
    files: tuple[DataFile, ...]

    @property
    def size(self) -> int:
        """The bytes that it declares, as far as that is told."""
        return sum(file.size or 0 for file in self.files)

    @property
    def here(self) -> int:
        """The bytes that are there."""
        return sum(file.here for file in self.files)

    @property
    def verified(self) -> bool:
        """Whether each file is there, and was the declared one when it was last read."""
        return bool(self.files) and all(file.verified for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        files = [asdict(file) for file in self.files]
        told = {"name": self.name, "state": self.state, "size": self.size, "here": self.here}
        return {**told, "verified": self.verified, "files": files}


@dataclass(frozen=True, kw_only=True, repr=False)
class Inventory:
    """What of data sets is in the data folder; its `repr` is a table.

    Fields:
        data_dir: The data folder.
        datasets: The data sets.
    """

    data_dir: Path
    datasets: tuple[DataState, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"data_dir": str(self.data_dir), "datasets": [each.to_dict() for each in self.datasets]}

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of the table, below its head: a data set each."""
        heading = ("name", "state", "files", "size", "here", "verified")
        rows = []
        for each in self.datasets:
            whole = sum(file.state == COMPLETE for file in each.files)
            counts = (f"{whole} of {len(each.files)}", show_size(each.size), show_size(each.here))
            verified = "yes" if each.verified else "-" if each.here == 0 else "no"
            rows.append((each.name, each.state, *(counts if each.files else ("", "", "")), verified))
        return [heading, *rows]

    def __repr__(self) -> str:
        return f"{align(self.rows)}\nin {self.data_dir}"

    def _repr_html_(self) -> str:
        heading, *rows = self.rows
        return make_table(rows, heading, caption=str(self.data_dir), most=1000)


def show_size(size: int) -> str:
    """Return a size for people: in megabytes, a small one in bytes."""
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"


def list_forms(file: FileSpec) -> list[tuple[str, int | None, str, str]]:
    """Return the path, size, checksum and algorithm of a file, and of its unpacked form where it has one."""
    forms = [(file.path, file.size, file.digest, file.algorithm)]
    if file.unpacked_sha256 is not None:
        forms.append((file.path.removesuffix(".gz"), file.unpacked_size, file.unpacked_sha256, "sha256"))
    return forms


def take_inventory(entries: Iterable[Entry[DatasetSpec]], root: Path) -> Inventory:
    """Return what of data sets is in a folder, from sizes and what is remembered: no file is read."""
    return Inventory(data_dir=root, datasets=tuple(_look_at(entry, root) for entry in entries))


def _look_at(entry: Entry[DatasetSpec], root: Path) -> DataState:
    files = tuple(_look_at_file(file, root) for file in entry.spec.files)
    states = {file.state for file in files}
    if not files:
        state = NOTHING
    elif OTHER in states or len(states) == 1:
        state = OTHER if OTHER in states else states.pop()
    else:
        state = PART
    return DataState(name=entry.short_name, state=state, files=files)


def _look_at_file(file: FileSpec, root: Path) -> DataFile:
    state, here, verified = MISSING, 0, True
    for path, size, digest, algorithm in list_forms(file):
        try:
            found = (root / path).stat()
        except OSError:
            continue
        known = recall(root / path, found, algorithm)
        right = stat.S_ISREG(found.st_mode) and found.st_size == (found.st_size if size is None else size)
        state = OTHER if not right or known not in (None, digest) else COMPLETE if state != OTHER else OTHER
        here, verified = here + found.st_size, verified and known == digest
    if state == MISSING and (parts := find_parts(root / file.path)):
        state, here = PART, parts[0].size
    return DataFile(path=file.path, state=state, size=file.size, here=here, verified=verified and state == COMPLETE)


def find_datasets(registry: Registry, names: str | Sequence[str], root: Path) -> list[Entry[DatasetSpec]]:
    """Return the data sets of these names; without any, all that declare files, of catalogues those with a file here.

    Raises:
        UnknownNameError: there is no such data set.
    """
    if names:
        return [registry.get("dataset", name) for name in dict.fromkeys([names] if isinstance(names, str) else names)]
    usual = {entry.qualified_name for entry in registry.list_entries("dataset")}
    entries: list[Entry[DatasetSpec]] = [entry for entry in registry.list_entries("dataset", "*") if entry.spec.files]
    # A catalogue has dozens of names, which would bury the others.
    return [entry for entry in entries if entry.qualified_name in usual or _look_at(entry, root).state != MISSING]


@checked
def data_list(
    names: str | Sequence[str] = (),
    *,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Inventory:
    """Return which files of data sets are in the data folder: of those named, or of all that declare files.

    No file is read: sizes are compared, and what was found when a file was last read is remembered. Of catalogues only
    the data sets with a file there are listed. `data_verify` reads.

    Raises:
        UnknownNameError: there is no such data set.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    return take_inventory(find_datasets(places.registry, names, places.data_dir), places.data_dir)


@checked
def data_verify(
    names: str | Sequence[str] = (),
    *,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Inventory:
    """Read the files of data sets again and compare them with their declared checksums; return what is there.

    Without names, all files that are in the data folder are read, and what is missing is no error. A path in the place
    of a name is a folder that `data_shard` wrote, which has its own checksums.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: a file is not the one declared, or does not unpack to what is.
        DownloadError: a file of a data set that was named is missing.
        StorageError: a file cannot be read.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    root, errors = places.data_dir, ErrorCollector()
    asked = [names] if isinstance(names, str) else names
    folders = [Path(make_absolute(name)) for name in asked if is_path(name, places.registry)]
    shards = []
    for folder in folders:
        with errors.catch():
            shards.append(_describe_shards(folder))
    known = [name for name in asked if not is_path(name, places.registry)]
    entries = find_datasets(places.registry, known, root) if known or not folders else []
    for entry in entries:
        missing = []
        for file in entry.spec.files:
            with errors.catch():
                if not _verify(file, root, entry):
                    missing.append(file.path)
        if missing and names:
            why, fix = f"not there: {', '.join(missing)} in {root}", f"Fetch them: zoo.data_fetch({entry.short_name!r})"
            errors.errors.append(DownloadError(f"cannot verify {entry.short_name}", why, fix))
    errors.raise_any()
    held = take_inventory(entries, root)
    if shards:
        return Inventory(data_dir=root if known else folders[0], datasets=(*held.datasets, *shards))
    return held if names else Inventory(data_dir=root, datasets=tuple(each for each in held.datasets if each.here))


def _describe_shards(folder: Path) -> DataState:
    """Read all files of a folder of shards; return what is there."""
    files = (
        DataFile(path=file.file, state=COMPLETE, size=file.size, here=file.size, verified=True)
        for file in check_shards(folder).files
    )
    return DataState(name=str(folder), state=COMPLETE, files=tuple(files))


def _verify(file: FileSpec, root: Path, entry: Entry[DatasetSpec]) -> bool:
    """Read what is there of a file; tell whether anything is."""
    name, errors, found = entry.short_name, ErrorCollector(), False
    again = f"fetch it again: zoo.data_fetch({name!r})" if file.urls else f"get it again: {entry.spec.homepage}"
    for path, size, digest, algorithm in list_forms(file):
        log.debug("reading %s", path)
        try:
            found |= check_file(root / path, size, digest, name, algorithm, anew=True)
        except DataError as error:
            errors.errors.append(DataError(error.what, error.why, f"Delete it and {again}"))
    errors.raise_any()
    if (root / file.path).exists():
        check_unpacked(root / file.path, file, name)
    return found
