"""Paths: what is meant by a path in the place of the name of a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, ZooError, quote
from zoo.registry.entries import Entry, Registry
from zoo.registry.fields import make_absolute
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.specs import DatasetSpec

LISTS = (".csv", ".jsonl")
"""Ends of the names of files that list samples."""
SPLITS = 3
"""Folders of a folder that may be those of splits; more are those of classes."""
TARS = ".tar"
"""How the names of files of samples end, or a pattern of them."""


def is_path(name: str, registry: Registry) -> bool:
    """Tell whether the name of a data set is a path: no entry has it, and it has the form of a path or leads somewhere.

    A path begins with `.`, `~` or the root, or ends in `.csv`, `.jsonl` or `.tar`; or it has a separator, and is there.
    """
    if not name or "://" in name:
        return False
    if name.startswith((".", "~")) or Path(name).is_absolute():
        return True  # no name begins so
    separated = any(separator in name for separator in ("/", os.sep))
    pattern = separated and "{" in name and name.endswith(TARS)
    likely = pattern or (Path(name).exists() if separated else name.lower().endswith((*LISTS, TARS)))
    return likely and "dataset" not in registry.find_kinds(name)


def read_path(
    name: str, params: Mapping[str, Any] | None, registry: Registry, folder: str | Path = ""
) -> tuple[str, Mapping[str, Any] | None]:
    """Return the name of a data set and its params, where a path may stand in the place of the name.

    `folder` is where a relative path begins, by default the current folder.

    Raises:
        UsageError: the params have a path too.
    """
    if not is_path(name, registry):
        return name, _place(name, params, registry, folder) if folder and params else params
    entry = find_reader(registry, make_absolute(name, folder))
    if entry is None:
        return name, params
    if params and entry.spec.path_param in params:
        what = f"{entry.spec.path_param} was given twice, {quote(name)} and {quote(params[entry.spec.path_param])}"
        raise UsageError(what, fix="Give one of them")
    return entry.short_name, {**(params or {}), entry.spec.path_param: make_absolute(name, folder)}


def _place(name: str, params: Mapping[str, Any], registry: Registry, folder: str | Path) -> Mapping[str, Any]:
    """Return the params of a data set, with a relative path among them from a folder."""
    with suppress(ZooError):  # an unknown name is told later, with all other problems
        path = registry.get("dataset", name).spec.path_param
        if path and isinstance(params.get(path), str) and params[path]:
            return {**params, path: make_absolute(params[path], folder)}
    return params


def find_reader(registry: Registry, path: str) -> Entry[DatasetSpec] | None:
    """Return the data set that reads what a path leads to: zoo's own with a mark of it, else one without marks."""
    readers: list[Entry[DatasetSpec]] = [
        entry
        for entry in registry.list_entries("dataset")
        if entry.plugin.name == FIRST_PARTY and entry.spec.path_param
    ]
    for entry in readers:
        if any(_has_mark(Path(path), mark) for mark in entry.spec.path_marks):
            return entry
    return next((entry for entry in readers if not entry.spec.path_marks), None)


def _has_mark(path: Path, mark: str) -> bool:
    """Tell whether a path has a name of this pattern, or leads to a folder with a file of such a name.

    The folders of a few splits are looked into too.
    """
    if fnmatchcase(path.name, mark):
        return True
    with suppress(OSError):
        below = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
        folders = [path, *below] if len(below) <= SPLITS else [path]
        return any(file.is_file() for folder in folders for file in folder.glob(mark))
    return False
