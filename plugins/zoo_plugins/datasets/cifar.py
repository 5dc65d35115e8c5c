"""CIFAR-10 and CIFAR-100: 60,000 colour pictures, 32 x 32, from the archives of their binary form: no pickles.

A record is one byte for each kind of label, then 3072 bytes: red, green and blue, row by row. See
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zoo import DataError, DataSplits

SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32
MAX_MEMBER = 1 << 28
"""Bytes of one file of an archive; the largest of the real ones has 154 million."""
FIX = "Delete the file to have it fetched again."


def cifar10(*, root: str | Path) -> DataSplits:
    """Read CIFAR-10: uint8 images `(N, 3, 32, 32)` and int64 targets `(N,)`, 50,000 to train and 10,000 to test.

    Args:
        root: The data folder that holds `cifar-10-binary.tar.gz`.

    Raises:
        DataError: the archive is not there, damaged, or holds something else.
    """
    archive, folder = Path(root, "cifar-10-binary.tar.gz"), "cifar-10-batches-bin"
    parts = [f"{folder}/data_batch_{number}.bin" for number in range(1, 6)]
    return _read_splits(archive, parts, f"{folder}/test_batch.bin", f"{folder}/batches.meta.txt", labels=1)


def cifar100(*, root: str | Path) -> DataSplits:
    """Read CIFAR-100: uint8 images `(N, 3, 32, 32)` and int64 targets `(N,)`, the 100 fine classes.

    Args:
        root: The data folder that holds `cifar-100-binary.tar.gz`.

    Raises:
        DataError: the archive is not there, damaged, or holds something else.
    """
    archive, folder = Path(root, "cifar-100-binary.tar.gz"), "cifar-100-binary"
    names = f"{folder}/fine_label_names.txt"
    return _read_splits(archive, [f"{folder}/train.bin"], f"{folder}/test.bin", names, labels=2)


def _read_splits(archive: Path, train: Sequence[str], test: str, names: str, *, labels: int) -> DataSplits:
    """Read the files of an archive; of the `labels` of each record the last one is the target."""
    files = _read_files(archive, [*train, test, names])
    class_names = files[names].decode("ascii", "replace").split()
    parts = [_read_records(archive, name, files[name], labels, len(class_names)) for name in (*train, test)]
    images, targets = ([part[index] for part in parts[:-1]] for index in (0, 1))
    return DataSplits(train=(torch.cat(images), torch.cat(targets)), test=parts[-1], class_names=tuple(class_names))


def _read_files(archive: Path, names: Sequence[str]) -> dict[str, bytearray]:
    """Return the content of the files of an archive that have these names; nothing is written anywhere."""
    files: dict[str, bytearray] = {}
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                if member.isfile() and member.name in names and member.size <= MAX_MEMBER:
                    stream = members.extractfile(member)
                    files[member.name] = bytearray(stream.read() if stream else b"")
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise DataError(f"cannot read {archive}", f"{type(error).__name__}: {error}", FIX) from error
    for name in names:
        if name not in files:
            raise DataError(f"cannot use {archive}", f"expected a file {name} in it, found {len(files)} others", FIX)
    return files


def _read_records(archive: Path, name: str, data: bytearray, labels: int, classes: int) -> tuple[Tensor, Tensor]:
    size = labels + VALUES
    if not data or len(data) % size:
        raise DataError(f"cannot use {archive}", f"{name}: expected records of {size} bytes, got {len(data)}", FIX)
    records = torch.frombuffer(data, dtype=torch.uint8).view(-1, size)
    targets = records[:, labels - 1].to(torch.int64)
    if int(targets.max()) >= classes:
        raise DataError(f"cannot use {archive}", f"{name}: label {int(targets.max())} of {classes} classes", FIX)
    return records[:, labels:].reshape(-1, *SHAPE), targets
