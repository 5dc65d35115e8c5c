"""Cache: decoded pictures kept on the disk, as rows of one mapped file, and what is known of the files they are from.

In `pictures` of `zoo_home()` each folder of pictures has a folder of its own: `files.json` says which files were read
and what was found, `KEY.rows` has decoded pictures of one form, and `KEY.json` of which files these are. All of it can
be deleted at any time, and is made again. A file is written whole beside its place before it gets its name. Rows are
used once their index is there too, and agrees with them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor

from zoo.data.decoding import PictureFacts, Rows, checksum
from zoo.data.mapped import SPARE, find_root, map_rows
from zoo.data.workers import count_cores
from zoo.errors import StorageError
from zoo.limits import MAX_PICTURE_INDEX
from zoo.registry.preprocess import Preprocess
from zoo.storage.files import digest, write_file
from zoo.storage.locks import lock
from zoo.storage.reading import read_file

VERSION = 1
CHECKED = 256
"""Rows that a thread checks at once."""
WAIT = 3600
"""Seconds that a process waits for another one that decodes the same pictures, before it decodes them itself."""
FIX = "Free some space"

State = tuple[int, int]
"""Size and time of the last change, in nanoseconds, of a file."""


def find_folder(files: Sequence[str]) -> Path:
    """Return the folder of what is kept of pictures that lie below one folder."""
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120 see ImageFiles
    except ValueError:  # they are on several drives
        common = ""
    return find_root() / digest(common)[:16]


def read_known(folder: Path) -> dict[str, tuple[State, PictureFacts]]:
    """Return what is known of files by their paths; nothing where nothing is kept, or by another Pillow."""
    try:
        kept = json.loads(read_file(folder / "files.json", MAX_PICTURE_INDEX))
        if (kept["version"], kept["pillow"]) != (VERSION, PIL.__version__):
            return {}
        return {
            path: ((int(size), int(modified)), PictureFacts(digest=content, height=height, width=width, error=error))
            for path, (size, modified, content, height, width, error) in kept["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
        return {}


def keep_known(folder: Path, known: Mapping[str, tuple[State, PictureFacts]]) -> None:
    """Keep what is known of files; where that cannot be written, they are read anew the next time."""
    table = {path: [*state, *astuple(facts)[:4]] for path, (state, facts) in known.items()}
    text = json.dumps({"version": VERSION, "pillow": PIL.__version__, "files": table})
    with suppress(StorageError):
        write_file(folder / "files.json", text.encode(errors="surrogatepass"), what="what is known of pictures", fix="")


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a decoded picture depends on beside its file."""

    shape: tuple[int, ...]
    resize: tuple[int, int] | int | None
    interpolation: str
    crop: tuple[int, int] | None
    torch: str = torch.__version__
    pillow: str = PIL.__version__

    @classmethod
    def of(cls, preprocess: Preprocess, shape: tuple[int, ...]) -> Form:
        """Return that of pictures which a preprocess brings to a shape."""
        steps = {name: getattr(preprocess, name) for name in ("resize", "interpolation", "crop")}
        return cls(shape=shape, **steps)

    @property
    def key(self) -> str:
        """A text that is another one for another form."""
        return digest(json.dumps([VERSION, asdict(self)]))[:8]


def name_sheet(form: Form, digests: Sequence[str]) -> str:
    """Return what the files of decoded pictures are called: of these files in this order, in this form."""
    return f"{form.key}-{digest(' '.join(digests))[:16]}"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Decoded pictures: uint8 rows `(N, *shape)` of a mapped file, the SHA-256 of each one's file, and its checksum."""

    images: Tensor
    digests: tuple[str, ...]
    checksums: tuple[int, ...]


def open_sheet(folder: Path, name: str, shape: tuple[int, ...], *, proved: bool = True) -> Sheet | None:
    """Return decoded pictures that are kept, None where there are none or they are damaged.

    Unless they are `proved`, all rows are read, and compared with what was written.
    """
    try:
        kept = json.loads(read_file(folder / f"{name}.json", MAX_PICTURE_INDEX))
        digests, checksums = tuple(map(str, kept["files"])), tuple(map(int, kept["checksums"]))
        if kept["shape"] != list(shape) or len(digests) != len(checksums) or not digests:
            return None
        images = map_rows(folder / f"{name}.rows", (len(digests), *shape))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not proved:
        places = [range(start, min(start + CHECKED, len(images))) for start in range(0, len(images), CHECKED)]

        def is_whole(part: range) -> bool:
            return all(checksum(images[place]) == checksums[place] for place in part)

        with ThreadPoolExecutor(count_cores()) as pool:  # a checksum needs no lock of Python
            if not all(pool.map(is_whole, places)):
                return None
    with suppress(OSError):
        os.utime(folder / f"{name}.json")  # what was used last is removed last
    return Sheet(images=images, digests=digests, checksums=checksums)


class SheetWriter:
    """A file of rows that is being written; `rows` says where. `save` gives it its name."""

    def __init__(self, folder: Path, rows: Rows, count: int) -> None:
        self.folder, self.rows, self.count = folder, rows, count

    def copy(self, wanted: Mapping[str, int], form: Form) -> dict[int, int]:
        """Copy rows from what is kept of the same form: `wanted` has the row for the SHA-256 of each file.

        Return the checksum of each row that was copied.
        """
        copied: dict[int, int] = {}
        for path in sorted(self.folder.glob(f"{form.key}-*.json")):
            sheet = open_sheet(self.folder, path.stem, form.shape, proved=False)
            if sheet is None:
                continue
            with FileIO(self.rows.path, "r+") as file:
                for place, (known, checked) in enumerate(zip(sheet.digests, sheet.checksums, strict=True)):
                    row = wanted.get(known, -1)
                    if row >= 0 and row not in copied:
                        write_at(file, row * self.rows.size, sheet.images[place])
                        copied[row] = checked
            if len(copied) == len(wanted):
                break
        return copied

    def save(self, form: Form, written: Mapping[int, tuple[str, int]]) -> Sheet:
        """Close the gaps between the rows that were written, and keep them.

        Args:
            form: What they depend on beside their files.
            written: Of each row the SHA-256 of its file and its checksum.

        Raises:
            OSError, StorageError: the disk is full, or the like.
        """
        order, size = sorted(written), self.rows.size
        with FileIO(self.rows.path, "r+") as file:
            for place, row in enumerate(order):
                if place != row:
                    file.seek(row * size)
                    write_at(file, place * size, torch.frombuffer(bytearray(file.read(size)), dtype=torch.uint8))
            file.truncate(len(order) * size)
        # Nobody waits until gigabytes are safe on the disk: what a crash took of them, their checksums show.
        digests, checksums = zip(*(written[row] for row in order), strict=True)
        name = name_sheet(form, digests)
        self.rows.path.replace(self.folder / f"{name}.rows")
        index = {"form": asdict(form), "shape": form.shape, "files": digests, "checksums": checksums}
        write_file(self.folder / f"{name}.json", json.dumps(index).encode(), what="decoded pictures", fix=FIX)
        sheet = open_sheet(self.folder, name, form.shape)
        if sheet is None:
            raise StorageError(f"cannot read what was just written to {self.folder}", fix=FIX)
        return sheet


@contextmanager
def writing(folder: Path, shape: tuple[int, ...], preprocess: Preprocess, count: int) -> Iterator[SheetWriter]:
    """Give a writer of so many rows; what was not saved is removed.

    Raises:
        OSError: no file can be made there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".rows.{os.getpid()}-{os.urandom(4).hex()}.part"
    rows = Rows(path=path, shape=shape, preprocess=preprocess)
    try:
        with path.open("xb") as file:
            file.truncate(count * rows.size)
        yield SheetWriter(folder, rows, count)
    finally:
        with suppress(OSError):
            path.unlink()


def write_at(file: FileIO, place: int, row: Tensor) -> None:
    """Write a row of uint8 at a place of a file."""
    file.seek(place)
    rest = row.contiguous().view(-1).numpy().data
    while rest:
        rest = rest[file.write(rest) or 0 :]


@contextmanager
def only_once(folder: Path) -> Iterator[None]:
    """Let one process at a time make what is kept in a folder: the others find what it made.

    Where that cannot be had, each makes it for itself.
    """
    held: Any = lock(folder / "lock", timeout=WAIT)
    try:
        held.__enter__()
    except StorageError:
        yield
        return
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def make_room(needed: int, budget: float, keep: Path) -> str:
    """Remove what was used longest ago until so many bytes fit the budget; return why they do not, else nothing.

    Args:
        needed: Bytes to be written.
        budget: Gigabytes that all rows may take.
        keep: A folder whose rows stay as long as others do.
    """
    most = int(budget * 1e9)
    if needed > most:
        return f"{needed / 1e9:.1f} GB, more than the budget of {budget:g} GB"
    there = sorted(_list_rows(), key=lambda found: (found[1].parent == keep, found[0]))
    total = sum(size for _, _, size in there)
    for _, rows, size in there:
        if total + needed <= most:
            break
        total -= size
        with suppress(OSError):
            rows.with_suffix(".json").unlink(missing_ok=True)
            rows.unlink()
    try:
        keep.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(keep).free
    except OSError as error:
        return f"{find_root()} cannot be written to: {error.strerror}"
    if needed + SPARE > free:
        return f"{needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free"
    return ""


def _list_rows() -> Iterator[tuple[float, Path, int]]:
    """Yield of each file of rows when it was used last, its path and its bytes."""
    for rows in find_root().glob("*/*.rows"):
        with suppress(OSError):
            used = rows.with_suffix(".json")
            found = rows.stat()
            yield (used.stat().st_mtime if used.exists() else 0.0), rows, found.st_size
