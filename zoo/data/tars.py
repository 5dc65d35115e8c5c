"""Tars: where the samples of tar files in the format of webdataset begin and end.

In that format the files of a sample follow one another and have one name up to its first dot: `0001.jpg`, `0001.cls`.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from zoo.data.images import is_picture
from zoo.errors import DataError, quote, show
from zoo.storage.reading import explain, open_regular

BLOCK = tarfile.BLOCKSIZE
MAX_LABEL = 1_000_000
"""Bytes of a file that tells a class."""
LABELS = ("label", "cls", "class", "target")
"""What the class may be called in a `.json` file, the first that is there."""
ARRAY = "npy"
CHUNK = 1 << 20
TOGETHER = "The files of a sample have one name up to its first dot, and follow one another: let tar sort the names"
ABOUT = re.compile(r"__.*__(\.|$)")
"""How a file is called that tells of the whole, and of no sample."""
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")
"""How files of gzip, bzip2, xz and zstd begin."""
AGAIN = "It is damaged or cut off: get it again"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in a tar file: its name, and where its bytes are."""

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """What it has in common with the other files of its sample: its name up to the first dot."""
        return self._split()[0]

    @property
    def extension(self) -> str:
        """The rest of its name, in lower case."""
        return self._split()[1].lower()

    def _split(self) -> tuple[str, str]:
        folder, slash, name = self.name.rpartition("/")
        stem, _, extension = name.partition(".")
        return f"{folder}{slash}{stem}", extension


@dataclass(frozen=True, kw_only=True)
class TarSample:
    """A sample: the file with its image, and its class, a number or a name."""

    image: Member
    label: int | str


@dataclass
class _Group:
    """The files of a sample by their extensions."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)


def list_samples(path: Path) -> Iterator[TarSample]:
    """Yield the samples of a tar file in their order.

    The image is the one picture, or else the one `.npy`, or else the one picture whose name has more dots; the class is
    in `.cls`, a number or a name, or in `.json` under `label`, `cls`, `class` or `target`. Other files of a sample are
    left out.

    Raises:
        DataError: it is damaged or cut off, or a sample has no image or no class; names the file and the byte.
    """
    try:
        with open_regular(path) as file:
            group: _Group | None = None
            for member in _list_members(path, file):
                if group is None or member.key != group.key:
                    if group is not None:
                        yield _read_group(path, file, group)
                    group = _Group(member.key)
                if member.extension in group.members:
                    what = f"two files are called {quote(member.name)}"
                    raise DataError(f"{quote(path)}, byte {member.offset}", what, "Give each sample a name of its own")
                group.members[member.extension] = member
            if group is not None:
                yield _read_group(path, file, group)
    except OSError as error:
        raise DataError(quote(path), f"cannot be read: {explain(error)}") from error


def _list_members(path: Path, file: BufferedReader) -> Iterator[Member]:
    """Yield the files of a tar file; hidden ones, those without an end of a name, and `__...__` are left out."""
    size = file.seek(0, 2)
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 the file is the caller's to close
    except (tarfile.TarError, OverflowError, ValueError, RecursionError) as error:
        file.seek(0)
        if file.read(4).startswith(COMPRESSED):
            fix = "Unpack it, with gunzip say: samples are read from the middle"
            raise DataError(quote(path), "a compressed tar file", fix) from None
        raise DataError(quote(path), f"not a tar file: {error}") from None
    while True:
        try:
            found = tar.next()
        except (tarfile.TarError, OverflowError, ValueError, RecursionError) as error:
            raise DataError(f"{quote(path)}, byte {tar.offset}", f"no header of a file: {error}", AGAIN) from None
        if found is None:
            break
        tar.members.clear()  # type: ignore[attr-defined]
        where, named = f"{quote(path)}, byte {found.offset}", quote(found.name)
        if found.size < 0:
            raise DataError(where, f"{named} has {found.size} bytes", AGAIN)
        name = found.name.rpartition("/")[2]
        if found.isdir() or name.startswith(".") or "." not in name or ABOUT.match(name):
            continue
        if not found.isreg() or found.issparse():
            fix = "Let tar write its bytes in the place of the link, or of the holes"
            raise DataError(where, f"{named} is a link, or a file with holes", fix)
        if found.offset_data + found.size > size:
            why = f"{named} has {found.size} bytes, and the tar file ends after {size}"
            raise DataError(f"{quote(path)}, byte {found.offset_data}", why, AGAIN)
        yield Member(name=found.name, offset=found.offset_data, size=found.size)
    _check_end(path, file, tar.offset)


def _check_end(path: Path, file: BufferedReader, place: int) -> None:
    """Raise DataError where something follows that is no header of a file, and not the zeros that end a tar file.

    Python takes either for the end.
    """
    file.seek(place)
    end = file.read(BLOCK)
    if len(end) < BLOCK or any(end):
        why = "expected a header of a file, or the zeros that end a tar file"
        raise DataError(f"{quote(path)}, byte {place}", why, AGAIN)
    while more := file.read(CHUNK):
        if any(more):
            where = f"{quote(path)}, byte {file.tell() - len(more.lstrip(bytes(1)))}"
            raise DataError(
                where, "it goes on after the zeros that end a tar file", "Give each tar file a file of its own"
            )


def _read_group(path: Path, file: BufferedReader, group: _Group) -> TarSample:
    members = group.members
    where = f"{quote(path)}, byte {next(iter(members.values())).offset}: sample {quote(group.key)}"
    told = f"its files are {', '.join(f'.{extension}' for extension in members)}"
    together = TOGETHER if len(members) == 1 or any("." in extension for extension in members) else ""
    pictures = [extension for extension in members if is_picture(f"x.{extension}")]
    plain = [extension for extension in pictures if "." not in extension]
    images = plain or [extension for extension in members if extension == ARRAY] or pictures
    if len(images) != 1:
        raise DataError(where, f"expected one picture, or one .{ARRAY}, got {len(images)}; {told}", together)
    if "cls" in members:
        label = _parse_number(_read(where, file, members["cls"]).strip())
    elif "json" in members:
        label = _find_label(where, _read(where, file, members["json"]))
    else:
        fix = "Put its class into a file .cls, or into a .json under the name label"
        raise DataError(where, f"it tells no class; {told}", together or fix)
    if label == "":
        raise DataError(where, "its class is an empty text")
    return TarSample(image=members[images[0]], label=label)


def _read(where: str, file: BufferedReader, member: Member) -> str:
    if member.size > MAX_LABEL:
        raise DataError(where, f"{quote(member.name)} has {member.size} bytes, at most {MAX_LABEL} are read")
    before = file.tell()
    file.seek(member.offset)
    data = file.read(member.size)
    file.seek(before)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DataError(where, f"{quote(member.name)} is no text") from None


def _parse_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _find_label(where: str, text: str) -> int | str:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(where, "its .json is no JSON") from None
    found: Any = next((told[name] for name in LABELS if name in told), None) if isinstance(told, Mapping) else told
    if isinstance(found, str) or (type(found) is int and 0 <= found < 10**9):
        return found
    raise DataError(where, f"its .json tells no class under {', '.join(LABELS)}: {show(found)}")
