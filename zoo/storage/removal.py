"""Removal: a file or folder goes at once or stays whole, and nothing that a link leads to is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from zoo.errors import StorageError
from zoo.storage.files import describe_failure, name_part, sync_folder

YOURSELF = "Remove it yourself."


def remove(path: Path) -> None:
    """Remove a file, a link itself, or a folder with all that is in it.

    A folder gets a name of a part first. So whoever looks finds it whole or not at all, and what a killed process
    leaves of it is known as such.

    Raises:
        StorageError: it cannot be removed; it is as it was, or else the error says where the rest of it is.
    """
    rest = path
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        if not os.access(path, os.W_OK | os.X_OK):
            raise StorageError(f"cannot remove {path}", "nothing in it may be removed", YOURSELF)
        rest = path.rename(name_part(path))
        sync_folder(path.parent)
        shutil.rmtree(rest)
    except OSError as error:
        raise describe_failure(f"cannot remove {rest}", error, path.parent, YOURSELF) from error


def measure(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; of links, what they take themselves."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    # os.walk follows no links and passes over what it may not read.
    found = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in found)


def show_size(size: int) -> str:
    """Return bytes as text: `640 bytes`, `1.2 MB`."""
    for unit, many in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= many:
            return f"{size / many:.1f} {unit}"
    return f"{size} byte{'' if size == 1 else 's'}"
