"""Verification: whether a file that is there is the one that a data set declares; what was found is remembered.

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
"""Bytes from which on it is enough to remember that a file was right: hashing fewer takes less than a second."""
SETTLED = 2 * 10**9
"""Nanoseconds since a file was changed after which another change shows in its time on every file system."""
ELSEWHERE = "Use data_dir=... for another data folder."


def new_digest(algorithm: str) -> Any:
    """Return a new hash; MD5 too where a system allows it for damage only."""
    return hashlib.new(algorithm, usedforsecurity=False)


def check_file(
    path: Path, size: int | None, digest: str, name: str, algorithm: str = "sha256", *, anew: bool = False
) -> bool:
    """Tell whether a file is there; if so it must be the one that data set `name` declares.

    What was found is remembered for who asks without reading, `recall`; with `anew` a large file is read in any case.

    Raises:
        DataError: it has another size or content.
        StorageError: it cannot be read, or is no regular file.
    """
    try:
        with open_regular(path) as stream:
            state = os.fstat(stream.fileno())
            wrong_size = size is not None and state.st_size != size
            known = not anew and state.st_size >= LARGE and recall(path, state, algorithm, settled=True) == digest
            got = "" if wrong_size or known else hashlib.file_digest(stream, lambda: new_digest(algorithm)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(f"cannot read {path}", explain(error), ELSEWHERE) from error
    if got:
        remember(path, state, algorithm, got)
    if not wrong_size and (known or got == digest):
        return True
    why = f"expected {NAMES[algorithm]} {digest}, got {got}" if got else f"expected {size} bytes, got {state.st_size}"
    raise DataError(f"{path} is not the file that {name} needs", why, "Delete it to have it fetched again.")


def recall(path: Path, state: os.stat_result, algorithm: str, *, settled: bool = False) -> str | None:
    """Return the checksum that a file had when it was read last, None where it was not, or changed since.

    With `settled` only one that was read so long after the file's last change that every later one shows.
    """
    with suppress(OSError, ValueError):
        told, read, digest = read_file(_find_memory(path), 400).decode("ascii").rsplit(" ", 2)
        if told == _describe(state, algorithm) and (not settled or int(read) - state.st_mtime_ns >= SETTLED):
            return digest
    return None


def remember(path: Path, state: os.stat_result, algorithm: str, digest: str) -> None:
    """Remember the checksum of a file that was just read."""
    now, memory = time.time_ns(), _find_memory(path)
    if recall(path, state, algorithm, settled=now - state.st_mtime_ns >= SETTLED) == digest:
        return
    with suppress(OSError, StorageError):  # where ZOO_HOME cannot be written, it is not remembered
        memory.parent.mkdir(parents=True, exist_ok=True)
        told = f"{_describe(state, algorithm)} {now} {digest}".encode()
        write_file(memory, told, what="the checksum of a file")


def _describe(state: os.stat_result, algorithm: str) -> str:
    """Return what changes with a file, and what was asked of it."""
    return f"{state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns} {algorithm}"


def _find_memory(path: Path) -> Path:
    return zoo_home() / "cache" / f"verified-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.txt"
