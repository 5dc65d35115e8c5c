"""Unpacking: whether a packed file holds what its data set declares, found out once and remembered.

A few bytes can unpack to gigabytes. A factory that reads a packed file may have to unpack all of it before it sees its
size, so it never gets one that was not unpacked here before, a piece at a time and no byte further than declared.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from contextlib import suppress
from pathlib import Path

from zoo.errors import DataError, StorageError
from zoo.registry.specs import FileSpec
from zoo.storage.files import write_file
from zoo.storage.folders import zoo_home
from zoo.storage.reading import explain, open_regular, read_file

CHUNK = 1 << 20


def check_unpacked(path: Path, file: FileSpec, name: str) -> None:
    """Check that a packed file, which is the one that data set `name` declares, unpacks to what is declared as well.

    Its own checksum is known to be right, so what it unpacks to is remembered by that in ZOO_HOME.

    Raises:
        DataError: it cannot be unpacked, or holds other bytes, more or fewer.
    """
    if file.unpacked_size is None:
        return
    expected = f"{file.unpacked_size} {file.unpacked_sha256}"
    memory = zoo_home() / "cache" / f"unpacked-{file.digest}.txt"
    with suppress(OSError):
        if read_file(memory, 200) == expected.encode():
            return
    if (found := _unpack(path, file.unpacked_size, name)) != expected:
        what = f"{path} does not unpack to the file that {name} needs"
        raise DataError(what, f"expected size and SHA-256 {expected}, got {found}", "What declares it is wrong")
    with suppress(OSError, StorageError):  # where ZOO_HOME cannot be written, it is unpacked again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_file(memory, expected.encode(), what="what a file unpacks to")


def _unpack(path: Path, most: int, name: str) -> str:
    """Return size and SHA-256 of what a file unpacks to; of more than `most` bytes that there are more."""
    size, digest = 0, hashlib.sha256()
    try:
        with open_regular(path) as packed, gzip.open(packed) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > most:
                    return f"more than {most} bytes"
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked for {name}", explain(error)) from error
    return f"{size} {digest.hexdigest()}"
