"""Mapped: uint8 tensors whose values are in a file, read from the disk when they are used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile

import numpy
import torch
from torch import Tensor

from zoo.storage.folders import zoo_home

SPARE = 10**9
"""Bytes of the disk that are left free."""
SMALL = 1 << 30
"""Bytes of rows that are copied into memory, where they do not lie together."""
COPIED = 1 << 26
"""Bytes that are copied at once."""


def find_root() -> Path:
    """Return the folder of all that is kept of pictures."""
    return zoo_home() / "pictures"


def map_rows(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Return the content of a file as a tensor of this shape; what is written into it does not get into the file.

    Raise ValueError where the file has another size: to read what is not there would end the process.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != torch.Size(shape).numel():
            raise ValueError("another size")
        return torch.from_numpy(numpy.memmap(file, dtype=numpy.uint8, mode="c", shape=shape))


def gather_rows(images: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a mapped tensor, in this order: in memory, or on the disk where they are more than `SMALL`.

    Their file has no name and is gone with the tensor. A disk that is full leaves them in memory.
    """
    shape = (len(rows), *images.shape[1:])
    size = torch.Size(shape).numel()
    try:
        if size <= SMALL or shutil.disk_usage(find_root()).free < size + SPARE:
            return images.index_select(0, rows)
        with TemporaryFile(dir=find_root()) as file:
            for part in rows.split(max(1, COPIED * len(rows) // size)):
                file.write(images.index_select(0, part).numpy().data)
            file.flush()
            return torch.from_numpy(numpy.memmap(file, dtype=numpy.uint8, mode="c", shape=shape))
    except OSError:
        return images.index_select(0, rows)
