"""IDX: the file format of MNIST and its relatives, a header of big-endian sizes and then the raw bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from zoo import DataError

UINT8 = 0x08
MAX_RANK = 4
# Bytes read at a time. Memory grows with the bytes that are there, whatever sizes a header claims.
CHUNK = 1 << 20


def read_idx(path: str | Path) -> Tensor:
    """Return the uint8 tensor in an IDX file, packed when the name ends in `.gz`.

    Raises:
        DataError: the file cannot be read or unpacked, holds another type, or more or fewer bytes than its header
            says.
    """
    path = Path(path)
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as stream:
            shape = _read_shape(stream, path)
            data = _read_bytes(stream, math.prod(shape), path)
    except (OSError, EOFError, zlib.error) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    # A bytearray is writable, so the tensor can take it over without a copy.
    return torch.frombuffer(data, dtype=torch.uint8).reshape(shape)


def _read_shape(stream: BinaryIO, path: Path) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, UINT8)) or not 1 <= magic[3] <= MAX_RANK:
        got = magic.hex(" ") or "nothing"
        raise _unusable(path, f"expected an IDX header of bytes, 00 00 08 and a rank of 1 to 4, got {got}")
    rank = magic[3]
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise _unusable(path, f"expected {rank} sizes in the header, got {len(sizes)} of {4 * rank} bytes")
    shape = struct.unpack(f">{rank}I", sizes)
    if 0 in shape:
        raise _unusable(path, f"expected at least one item, got the shape {shape}")
    return shape


def _read_bytes(stream: BinaryIO, size: int, path: Path) -> bytearray:
    """Read exactly `size` bytes. Reading to the end shows that nothing follows, and checks the sum of a packed file."""
    data = bytearray()
    while chunk := stream.read(min(CHUNK, size + 1 - len(data))):
        data += chunk
    if len(data) != size:
        got = f"{len(data)}" if len(data) < size else "more"
        raise _unusable(path, f"expected {size} bytes after the header, got {got}")
    return data


def _unusable(path: Path, why: str) -> DataError:
    return DataError(f"cannot read {path}", why, "Delete the file to have it fetched again.")
