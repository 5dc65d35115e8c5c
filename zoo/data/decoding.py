"""Decoding: all pictures of a data set read once, by as many processes as there are cores."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.data.batch import as_it_is
from zoo.data.files import decode
from zoo.data.fitted import fit_image_alone
from zoo.data.images import decode_image
from zoo.data.jpeg import faster
from zoo.data.workers import count_cores, name_dead_worker, read_from, settle
from zoo.errors import DataError, quote
from zoo.limits import MAX_IMAGE_BYTES
from zoo.registry.preprocess import Preprocess
from zoo.storage.reading import explain, read_file

AT_ONCE = 16
"""Pictures that a process decodes before it tells of them."""
MANY = 500
"""Pictures that take long enough to import a faster decoder, and to say that they are decoded."""
COMPARED = 8
"""Pictures that both decoders are tried on."""


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What reading a picture file told.

    Fields:
        digest: The SHA-256 of the file.
        height: Pixels, as it stands upright.
        width: Pixels.
        error: Why it cannot be read, else empty.
        lasting: Whether the file itself is the reason, so that to try it again is of no use.
    """

    digest: str = ""
    height: int = 0
    width: int = 0
    error: str = ""
    lasting: bool = True


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Where decoded pictures are written: a file of rows of one shape, and how a picture gets that shape."""

    path: Path
    shape: tuple[int, ...]
    preprocess: Preprocess

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return torch.Size(self.shape).numel()


Task = tuple[str, int]
"""A file and its row."""
Decoded = tuple[int, PictureFacts, int]
"""A row, what is known of its picture, and the checksum of what was written."""


def checksum(row: Tensor) -> int:
    """Return the CRC-32 of a row, which damage changes."""
    return zlib.crc32(row.contiguous().view(-1).numpy().data)


def decode_all(
    name: str, tasks: Sequence[Task], channels: int, rows: Rows | None, workers: int | None = None
) -> Iterator[Decoded]:
    """Read pictures and write each to its row, where there is a file for that; yield what was found, in any order.

    Raises:
        DataError: a picture cannot be brought to the shape of a row.
        OSError: the rows cannot be written.
        WorkerError: a process that decodes died.
    """
    most = count_cores() if workers is None else workers
    chunks = [range(start, min(start + AT_ONCE, len(tasks))) for start in range(0, len(tasks), AT_ONCE)]
    loader = DataLoader(
        _Decoder(name, tasks, channels, rows),
        batch_size=None,
        sampler=chunks,
        num_workers=0 if len(chunks) < 2 else min(most, len(chunks)),
        collate_fn=as_it_is,
        worker_init_fn=settle,
        generator=torch.Generator(),  # so that the random state of the process stays as it is
    )
    tried = [file for file, _ in tasks[:COMPARED]] if len(tasks) >= MANY else []
    with name_dead_worker(name), faster(tried, decode_image) if tried else nullcontext():
        for found in read_from(loader):
            if isinstance(found, Exception):
                raise found
            yield from found


class _Decoder(Dataset[Any]):
    """Decodes pictures: an index is a range of tasks. What keeps it from writing is given back, not raised."""

    def __init__(self, name: str, tasks: Sequence[Task], channels: int, rows: Rows | None) -> None:
        self.name, self.tasks, self.channels, self.rows = name, tasks, channels, rows

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, places: range) -> list[Decoded] | Exception:
        try:
            return self._decode(places)
        except (DataError, OSError) as error:
            return error

    def _decode(self, places: range) -> list[Decoded]:
        found: list[tuple[int, PictureFacts]] = []
        images: list[Tensor] = []
        for place in places:
            file, row = self.tasks[place]
            facts, image = read_facts(file, self.channels)
            found.append((row, facts))
            if image is not None and self.rows is not None:
                images.append(self._fit(file, image, self.rows))
        if self.rows is None:
            return [(row, facts, 0) for row, facts in found]
        checksums = iter([checksum(image) for image in images])
        self._write(self.rows, [row for row, facts in found if not facts.error], images)
        return [(row, facts, 0 if facts.error else next(checksums)) for row, facts in found]

    def _fit(self, file: str, image: Tensor, rows: Rows) -> Tensor:
        try:
            fitted = fit_image_alone(image, rows.preprocess)
        except DataError as error:
            raise DataError(f"dataset {quote(self.name)}: {quote(Path(file))}", str(error)) from error
        if tuple(fitted.shape) != rows.shape:
            what = f"dataset {quote(self.name)}: {quote(Path(file))} becomes {tuple(fitted.shape)}"
            fix = "For pictures of many sizes declare a Preprocess with resize and rounded=True"
            raise DataError(what, f"others {rows.shape}", fix)
        return fitted

    @staticmethod
    def _write(rows: Rows, places: Sequence[int], images: Sequence[Tensor]) -> None:
        with FileIO(rows.path, "r+") as file:
            for place, image in zip(places, images, strict=True):
                file.seek(place * rows.size)
                rest = image.contiguous().view(-1).numpy().data
                while rest:
                    rest = rest[file.write(rest) or 0 :]


def read_facts(file: str, channels: int) -> tuple[PictureFacts, Tensor | None]:
    """Return what a picture file holds, and its pixels, uint8 `(channels, H, W)`; None where it cannot be read."""
    try:
        data = read_file(file, MAX_IMAGE_BYTES)
    except OSError as error:
        return PictureFacts(error=f"cannot be read: {explain(error)}", lasting=False), None
    digest = hashlib.sha256(data).hexdigest()
    try:
        image = decode(file, data, channels)
    except DataError as error:
        return PictureFacts(digest=digest, error=error.why), None
    return PictureFacts(digest=digest, height=image.shape[1], width=image.shape[2]), image


def list_states(files: Sequence[str]) -> list[tuple[int, int] | None]:
    """Return size and time of the last change, in nanoseconds, of each file; None where there is no file."""
    states: list[tuple[int, int] | None] = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116 Path makes 100,000 in a second
        except (OSError, ValueError):
            states.append(None)
        else:
            states.append((found.st_size, found.st_mtime_ns))
    return states
