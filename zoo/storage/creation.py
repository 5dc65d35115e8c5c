"""Creation: folders with a name of their own, one that is empty and one that appears with all of its files."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from zoo.errors import StorageError, quote
from zoo.storage.files import (
    ELSEWHERE,
    ON_WINDOWS,
    UNSAFE_NAME,
    describe_failure,
    fill,
    make_folder,
    name_part,
    open_new,
    sync_folder,
)

Files = Iterable[tuple[str, Iterable[bytes | memoryview]]]
"""Names of files, and of each what it is to hold."""


def create_folder(parent: str | Path, name: str) -> Path:
    """Create `parent/name`, or `name-2`, `name-3`, ... when taken, and return it; raise StorageError if none can be."""
    parent, made = Path(parent), None
    if UNSAFE_NAME.fullmatch(name):
        raise StorageError(f"cannot create a folder in {parent}", f"expected a plain name, got {quote(name)}")
    try:
        make_folder(parent)
        for number in itertools.count(1):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                made = folder
                break
        sync_folder(parent)
    except (OSError, ValueError) as error:
        if made is not None:
            with suppress(OSError):
                made.rmdir()
        raise describe_failure(f"cannot create folder {quote(name)} in {parent}", error, parent, ELSEWHERE) from error
    return folder


def write_folder(parent: Path, name: str, files: Files, *, what: str, fix: str = ELSEWHERE) -> Path:
    """Write `parent/name`, or `name-2`, `name-3`, ... when taken, with these files, whole or not at all; return it.

    They are written one after the other, each safe on the disk before the next one is begun: the content of a later one
    may tell of those before it. The folder gets its name when all of them are. Errors of the contents pass unchanged.

    Raises:
        StorageError: the disk is full, read-only, fails ...
    """
    part = name_part(parent / name)
    try:
        make_folder(parent)
        part.mkdir()
        try:
            for file_name, chunks in files:
                fill(open_new(part / file_name), chunks)
            sync_folder(part)
            for number in itertools.count(1):
                folder = parent / (name if number == 1 else f"{name}-{number}")
                with suppress(FileExistsError):
                    rename_folder(part, folder)
                    break
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync_folder(parent)
    except OSError as error:
        raise describe_failure(f"cannot save {what} to {parent / name}", error, parent, fix) from error
    return folder


def rename_folder(folder: Path, target: Path) -> None:
    """Give a folder, or a link to one, a name on the same disk that nothing has; raise OSError where it is taken.

    A plain rename would take the place of an empty folder, which another process may have made to fill it. Where the
    system cannot refuse that, an empty folder of our own is made to be replaced: a kill leaves it.
    """
    if _rename_exclusively(folder, target):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    made = not (ON_WINDOWS or folder.is_symlink())
    if made:
        target.mkdir()
    try:
        folder.rename(target)
    except OSError:
        if made:
            with suppress(OSError):
                target.rmdir()
        raise


def _rename_exclusively(folder: Path, target: Path) -> bool:
    """Rename in one call of the system that takes no name away; return whether there is one for this disk."""
    if sys.platform != "linux":
        return False
    import ctypes

    here, exclusively = -100, 1  # AT_FDCWD and RENAME_NOREPLACE
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if not call(here, os.fsencode(folder), here, os.fsencode(target), ctypes.c_uint(exclusively)):
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):  # network disks and old kernels do not know the flag
        return False
    raise OSError(code, os.strerror(code), str(folder), None, str(target))
