"""Fetching: the files of a data set by its name, downloaded where they are missing, and verified."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from zoo.errors import ErrorCollector, SettingError
from zoo.registry.arguments import checked
from zoo.registry.downloads import fetch_files
from zoo.registry.entries import Entry, Registry
from zoo.registry.inventory import Inventory, take_inventory
from zoo.registry.places import open_places
from zoo.registry.specs import DatasetSpec

log = logging.getLogger("zoo")


def fetch_dataset(entry: Entry[DatasetSpec], root: Path, *, offline: bool) -> None:
    """Fetch and verify the files that a data set declares.

    Raises:
        SettingError: `root` lies in the folder that is meant, too deep: its files are above it.
        DataError, DownloadError, StorageError: they cannot be had.
    """
    if entry.spec.files:
        if outer := _find_outer_root(entry.spec.files[0].path, root):
            expected = f"expected the folder in which {entry.spec.files[0].path} lies"
            raise SettingError("data_dir", expected, str(root), f"Give {outer}")
        fetch_files(
            entry.spec.files,
            root,
            offline=offline,
            name=entry.short_name,
            homepage=entry.spec.homepage,
            report=log.info,
        )


def _find_outer_root(path: str, root: Path) -> Path | None:
    """Return the folder above `root` that has a file of a data set where `root` does not, packed or unpacked."""
    names = (path, path.removesuffix(".gz"))
    if any((root / name).exists() for name in names):
        return None
    above = root.absolute().parents[: len(PurePosixPath(path).parts) - 1]
    return next((folder for folder in above if any((folder / name).exists() for name in names)), None)


@checked
def fetch(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Path:
    """Fetch and verify the files of a data set; return the data folder they are in.

    Raises:
        UnknownNameError, DataError, DownloadError, StorageError.
    """
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline)
    fetch_dataset(places.registry.get("dataset", dataset), places.data_dir, offline=places.offline)
    return places.data_dir


@checked
def data_fetch(
    names: str | Sequence[str],
    *,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Inventory:
    """Fetch and verify the files of data sets; return what is there then.

    What came of a file before a download broke off is not asked for again. Where one data set cannot be had, the others
    are fetched all the same.

    Raises:
        UnknownNameError, DataError, DownloadError, StorageError: for each data set that cannot be had.
    """
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline)
    root, errors = places.data_dir, ErrorCollector()
    entries = [
        places.registry.get("dataset", name) for name in dict.fromkeys([names] if isinstance(names, str) else names)
    ]
    for entry in entries:
        with errors.catch():
            fetch_dataset(entry, root, offline=places.offline)
    errors.raise_any()
    return take_inventory(entries, root)
