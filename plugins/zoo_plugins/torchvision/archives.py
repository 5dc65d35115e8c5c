"""Archives: unpacked beside themselves for torchvision's readers, whole or not at all.

zoo has verified an archive before a factory runs. Still nothing in it is trusted with where it is written: only regular
files are taken, by plain names below the folder, with limits on their number and size.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import time
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from zoo import DataError, StorageError

CHUNK, DAY = 1 << 20, 86_400.0
MAX_MEMBERS = 4_000_000
"""Members of an archive; the largest of the real ones, the training images of iNaturalist 2021, has 2.7 million."""
RATIO, SLACK = 20, 64 << 20
"""An archive unpacks to at most RATIO times its size and SLACK bytes more; lists of labels pack best, about 5 : 1."""
TAR = (".tar", ".tar.gz", ".tgz")
DAMAGE = (EOFError, RuntimeError, ValueError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)

Members = Iterator[tuple[str, IO[bytes]]]


def lay_out(
    folder: Path, layout: Mapping[str, str | None], finish: Callable[[Path], None] | None = None, variant: str = ""
) -> Path:
    """Return the folder in which the files of a data set lie as torchvision expects them, made at the first call.

    It is a folder below `folder`, where the files are. `layout` says of each file into which folder of it `place` puts
    it; None leaves it to `finish`, which gets the folder to make what lies otherwise, and may make it by a `variant`.
    The folder has its name only when all is done: a process that ends before leaves nothing that is taken for it.

    Raises:
        DataError: an archive is damaged, or has a member that it must not have.
        StorageError: the folder cannot be written.
    """
    try:
        parts = [f"{name} {(folder / name).stat().st_size} {into}" for name, into in layout.items()] + [variant]
        made = folder / f"unpacked-{hashlib.sha256('; '.join(parts).encode()).hexdigest()[:12]}"
        if made.is_dir():
            return made
        _sweep(folder)
        stage = folder / f".{made.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
        try:
            stage.mkdir()
            for name, into in layout.items():
                if into is not None:
                    place(folder / name, stage / into)
            if finish is not None:
                finish(stage)
            if hasattr(os, "sync"):
                os.sync()  # once for all files, before the folder has its name
            _name(stage, made)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        what = f"cannot unpack the files in {folder}"
        raise StorageError(what, error.strerror or str(error), "Use data_dir=... for another data folder") from error
    return made


def _sweep(folder: Path) -> None:
    """Remove what processes left that ended while they unpacked, more than a day ago."""
    for left in folder.glob(".unpacked-*.part"):
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)


def _name(stage: Path, made: Path) -> None:
    try:
        stage.rename(made)
    except OSError:
        if not made.is_dir():  # else another process was faster
            raise


def place(file: Path, into: Path) -> None:
    """Unpack an archive into a folder, or a `.gz` to a file of it, or link to another file from it.

    Raises:
        DataError, OSError: as `unpack` does.
    """
    into.mkdir(parents=True, exist_ok=True)
    if file.name.endswith((*TAR, ".zip")):
        unpack(file, into)
    elif file.name.endswith(".gz"):
        with _explained(file), gzip.open(file) as stream:
            _write(into / file.name.removesuffix(".gz"), stream, _find_room(file), file)
    else:
        link(file, into)


def link(file: Path, into: Path) -> None:
    """Make a file be in a folder as well; it is copied where the file system has no links."""
    into.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, into / file.name)
    except OSError:
        shutil.copyfile(file, into / file.name)


def unpack(archive: Path, into: Path, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Write the regular files of an archive, those that are `wanted` by their names, below a folder.

    Raises:
        DataError: it is damaged, has a link, a device or a name that leaves the folder, or unpacks to too much.
        OSError: a file cannot be written.
    """
    room, count = _find_room(archive), 0
    with _explained(archive):
        for name, stream in _read_tar(archive) if archive.name.endswith(TAR) else _read_zip(archive):
            count += 1
            if count > MAX_MEMBERS:
                raise DataError(f"cannot unpack {archive}", f"it has more than {MAX_MEMBERS:,} members")
            parts = _split(archive, name)
            if wanted("/".join(parts)):
                path = into.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                room = _write(path, stream, room, archive)


def _read_tar(archive: Path) -> Members:
    with tarfile.open(archive, "r|*") as members:
        for member in members:
            if member.isdir():
                continue
            stream = members.extractfile(member) if member.isreg() else None
            if stream is None:
                raise DataError(f"cannot unpack {archive}", f"its member {member.name!r} is not a regular file")
            yield member.name, stream


def _read_zip(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            kind = member.external_attr >> 28
            if kind not in (0, 0o04, 0o10):  # a link, say; some tools write no kind
                raise DataError(f"cannot unpack {archive}", f"its member {member.filename!r} is not a regular file")
            if not member.is_dir():
                with members.open(member) as stream:
                    yield member.filename, stream


def _split(archive: Path, name: str) -> list[str]:
    """Return the parts of a member's name; raise DataError unless they stay below the folder on any system."""
    parts = [part for part in unicodedata.normalize("NFC", name).split("/") if part != "."]
    if not parts or not all(part and part != ".." and not set(part) & set("\\:\0") for part in parts):
        raise DataError(f"cannot unpack {archive}", f"its member {name!r} would leave the folder")
    return parts


def _write(path: Path, stream: IO[bytes], room: int, archive: Path) -> int:
    """Write a file that is not there yet, of at most `room` bytes; return how much room is left."""
    try:
        with path.open("xb") as file:
            while chunk := stream.read(CHUNK):
                room -= len(chunk)
                if room < 0:
                    raise DataError(f"cannot unpack {archive}", f"it has more than {RATIO} times its size in it")
                file.write(chunk)
    except FileExistsError:
        raise DataError(f"cannot unpack {archive}", f"its member {path.name!r} is there twice") from None
    return room


def _find_room(archive: Path) -> int:
    return RATIO * archive.stat().st_size + SLACK


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turn what the readers of archives raise into a DataError that names the archive; a full disk stays an OSError."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        fix = "Delete it to have it fetched again."
        raise DataError(f"cannot unpack {archive}", f"{type(error).__name__}: {error}", fix) from error
