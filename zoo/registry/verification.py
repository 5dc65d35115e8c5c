"""Verification: whether a file that is there is the one that a data set declares; of large ones it is remembered.

Reading a hundred gigabytes again at each run takes minutes, so a large file is hashed anew only when it has changed.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.errors import DataError, StorageError
from zoo.storage.files import write_file
from zoo.storage.folders import zoo_home
from zoo.storage.reading import explain, open_regular, read_file

NAMES = {"sha256": "SHA-256", "md5": "MD5"}
LARGE = 1 << 28
"""Bytes from which on it is remembered that a file was right: hashing fewer takes less than a second."""
SETTLED = 2 * 10**9
"""Nanoseconds since a file was changed after which another change shows in its time on every file system."""
ELSEWHERE = "Use data_dir=... for another data folder."


def new_digest(algorithm: str) -> Any:
    """Return a new hash; MD5 too where a system allows it for damage only."""
    return hashlib.new(algorithm, usedforsecurity=False)


def check_file(path: Path, size: int | None, digest: str, name: str, algorithm: str = "sha256") -> bool:
    """Tell whether a file is there; if so it must be the one that data set `name` declares.

    Raises:
        DataError: it has another size or content.
        StorageError: it cannot be read, or is no regular file.
    """
    try:
        with open_regular(path) as stream:
            state = os.fstat(stream.fileno())
            wrong_size = size is not None and state.st_size != size
            known = state.st_size >= LARGE and _recall(path) == _describe(state, digest)
            got = "" if wrong_size or known else hashlib.file_digest(stream, lambda: new_digest(algorithm)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(f"cannot read {path}", explain(error), ELSEWHERE) from error
    if not wrong_size and (known or got == digest):
        _remember(path, state, digest)
        return True
    why = f"expected {NAMES[algorithm]} {digest}, got {got}" if got else f"expected {size} bytes, got {state.st_size}"
    raise DataError(f"{path} is not the file that {name} needs", why, "Delete it to have it fetched again.")


def _describe(state: os.stat_result, digest: str) -> bytes:
    """Return what changes with a file, and what it was found to be."""
    return f"{state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns} {digest}".encode()


def _find_memory(path: Path) -> Path:
    return zoo_home() / "cache" / f"verified-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.txt"


def _recall(path: Path) -> bytes | None:
    with suppress(OSError):
        return read_file(_find_memory(path), 400)
    return None


def _remember(path: Path, state: os.stat_result, digest: str) -> None:
    """Remember that a large file is right, unless it was changed a moment ago."""
    if state.st_size < LARGE or time.time_ns() - state.st_mtime_ns < SETTLED:
        return
    memory = _find_memory(path)
    with suppress(OSError, StorageError):  # where ZOO_HOME cannot be written, it is hashed again
        if _recall(path) != _describe(state, digest):
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_file(memory, _describe(state, digest), what="that a file was verified")
