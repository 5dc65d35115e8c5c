"""Shards: samples in tar files, each found by the place of its bytes, so that they are read in any order.

An index says of each sample in which file, at which byte and how long its image is. So shards are a data set like any
other: what a batch holds follows from seed and epoch alone, whoever reads it and wherever a training goes on. What
differs is the order of a training: a few shards at a time are shuffled through, so that a disk, or what caches it, has
to hold those few and not all.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, Self

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.files import decode
from zoo.data.fitted import FittedDataset
from zoo.data.named import NamedDataset
from zoo.data.order import Groups
from zoo.data.splits import FilesDataset, Split
from zoo.display import say
from zoo.errors import DataError, quote
from zoo.limits import MAX_IMAGE_BYTES
from zoo.registry.shards import ShardFile
from zoo.storage.reading import check_regular, explain

SHARD, OFFSET, SIZE, TARGET, CHECKSUM = range(5)
"""The columns of an index: number of the shard, first byte of the image, its bytes, class, CRC-32 or -1 if unknown."""
WINDOW = 16
"""Shards that are shuffled through at a time, unless told otherwise: 4 GB of shards of 256 MB."""
OPEN = 64
"""Files that a process keeps open."""
ARRAY = b"\x93NUMPY"
"""How the bytes of an array begin."""

COLUMNS = 5
Rows = NDArray[numpy.int64]
"""An index: a row for each sample."""


class Shards(FilesDataset):
    """Samples of tar files: a map-style Dataset of `(image, target)`.

    Pictures are uint8 `(C, H, W)`, as `ImageFiles` reads them; arrays are as they were written.

    Args:
        files: The tar files, by their numbers in the index.
        rows: The index.
        folder: Where the files are.
        channels: Of every picture: 3 for RGB, 1 for grey.
        window: Shards that a training shuffles through at a time.
        index: The file that the rows are mapped from, if they are: other processes map it too.
    """

    def __init__(
        self,
        files: Sequence[ShardFile],
        rows: Rows,
        folder: Path,
        *,
        channels: int = 3,
        window: int = WINDOW,
        index: Path | None = None,
    ) -> None:
        self.files, self.rows, self.folder, self.index = tuple(files), rows, folder, index
        self.channels, self.window = channels, window
        self.opened: OrderedDict[int, FileIO] = OrderedDict()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return say("Shards", f"{len(self):,} samples", f"{len(self.files):,} tar files in {self.folder}")

    def __getstate__(self) -> dict[str, Any]:
        rows = None if self.index is not None else self.rows
        return {**self.__dict__, "rows": rows, "opened": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.index is not None:
            self.rows = numpy.load(self.index, mmap_mode="r", allow_pickle=False)

    def __del__(self) -> None:
        for file in self.__dict__.get("opened", {}).values():
            file.close()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and class of a sample; raise DataError that names shard and byte and says what is wrong."""
        data = self.read_bytes(index)
        target = int(self.rows[index, TARGET])
        if data.startswith(ARRAY):
            return self._load(index, data), target
        return decode(self._locate(index), data, self.channels), target

    def read_bytes(self, index: int) -> bytes:
        """Return the bytes of an image as they lie in a shard; raise DataError where they are damaged."""
        number, offset, size, _, checksum = map(int, self.rows[index])
        if size > MAX_IMAGE_BYTES:
            raise DataError(self._locate(index), f"it has {size} bytes, at most {MAX_IMAGE_BYTES} are read")
        file = self._open(number)
        try:
            data = _read_at(file, offset, size)
        except OSError as error:
            raise DataError(self._locate(index), f"cannot be read: {explain(error)}") from error
        if len(data) != size or checksum not in (-1, zlib.crc32(data)):
            why = f"expected {size} bytes, got {len(data)}" if len(data) != size else "its checksum is another one"
            raise DataError(self._locate(index), f"damaged: {why}", "Get this shard again")
        return data

    def _open(self, number: int) -> FileIO:
        """Return the open file of a shard; of many the one that was used longest ago is closed."""
        if file := self.opened.get(number):
            self.opened.move_to_end(number)
            return file
        shard = self.files[number]
        where = f"shard {number} ({quote(self.folder / shard.file)})"
        try:
            path = self.folder / shard.file
            check_regular(path.stat().st_mode)
            file = FileIO(path)
        except OSError as error:
            raise DataError(where, f"cannot be read: {explain(error)}") from error
        if (size := os.fstat(file.fileno()).st_size) != shard.size:
            file.close()
            raise DataError(where, f"expected {shard.size:,} bytes, got {size:,}", "Get this shard again")
        while len(self.opened) >= OPEN:
            self.opened.popitem(last=False)[1].close()
        self.opened[number] = file
        return file

    def _load(self, index: int, data: bytes) -> Tensor:
        try:
            return torch.from_numpy(numpy.load(BytesIO(data), allow_pickle=False))
        except (ValueError, TypeError, EOFError, SyntaxError) as error:
            raise DataError(self._locate(index), f"no array: {error}", "Get this shard again") from error

    def _locate(self, index: int) -> str:
        number, offset = int(self.rows[index, SHARD]), int(self.rows[index, OFFSET])
        return f"shard {number} ({quote(self.folder / self.files[number].file)}), byte {offset}"

    def take(self, places: Sequence[int]) -> Self:
        """Return a data set of some of the samples, in this order."""
        taken = object.__new__(type(self))
        rows = self.rows[numpy.asarray(places, dtype=numpy.int64)]
        taken.__dict__.update(self.__dict__, rows=rows, index=None, opened=OrderedDict())
        return taken

    @property
    def targets(self) -> Rows:
        """The class of each sample, `(N,)`."""
        return self.rows[:, TARGET].copy()

    @property
    def digest(self) -> str | None:
        """The SHA-256 of what the files hold and the index says, as it was written down; None where it was not."""
        if not all(file.sha256 for file in self.files):
            return None
        digest = hashlib.sha256(json.dumps([self.channels, [file.sha256 for file in self.files]]).encode())
        digest.update(numpy.ascontiguousarray(self.rows).data)
        return digest.hexdigest()

    def read_example(self) -> Tensor:
        """Return the first image; raise DataError where it cannot be read."""
        return self[0][0]

    def list_groups(self) -> Groups:
        """Return the shard of each sample, int32 `(N,)`, and how many shards are shuffled through at a time."""
        return torch.from_numpy(self.rows[:, SHARD].astype(numpy.int32)), self.window


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    """Return some bytes of a file, whose place forked processes have in common."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)


def find_shards(split: Split) -> Shards | None:
    """Return the shards that a split reads, None where it is something else."""
    inner = split.dataset if isinstance(split, NamedDataset) else split
    inner = inner.dataset if isinstance(inner, FittedDataset) else inner
    return inner if isinstance(inner, Shards) else None
