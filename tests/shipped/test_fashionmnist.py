"""The IDX reader and Fashion-MNIST, on small files made here and on the real data (in the folder `ZOO_TEST_DATA`)."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo.errors import DataError
from zoo_plugins.datasets.fashionmnist import CLASS_NAMES, fashionmnist
from zoo_plugins.datasets.idx import read_idx

FILES = tuple(f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def idx(values: Tensor, shape: tuple[int, ...] | None = None) -> bytes:
    """Return the bytes of an IDX file; its header says `shape` when that is given."""
    sizes = tuple(values.shape) if shape is None else shape
    return struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + values.numpy().tobytes()


def images(count: int) -> Tensor:
    return torch.arange(count * 28 * 28).remainder(251).to(torch.uint8).reshape(count, 28, 28)


def labels(count: int) -> Tensor:
    return torch.arange(count).remainder(10).to(torch.uint8)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a folder with a small data set, all packed."""
    folder = tmp_path / "FashionMNIST" / "raw"
    for file, values in zip(FILES, (images(7), labels(7), images(3), labels(3)), strict=True):
        write(folder / f"{file}.gz", idx(values))
    return folder


def fail(path: Path) -> str:
    """Return the message of the error that reading must raise."""
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 28, 28), (2, 3, 4, 5)])
def test_reads_any_shape(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    values = torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    tensor = read_idx(write(tmp_path / name, idx(values)))
    assert tensor.dtype == torch.uint8
    assert torch.equal(tensor, values)
    tensor += 1  # it is writable and shares no memory


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "expected an IDX header of bytes, 00 00 08 and a rank of 1 to 4, got nothing"),
        (b"\0\0\x08", "got 00 00 08"),
        (b"\x1f\x8b\x08\0" + bytes(20), "got 1f 8b 08 00"),
        (b"\0\0\x0d\x01" + struct.pack(">If", 1, 0.5), "got 00 00 0d 01"),
        (b"\0\0\x08\0", "got 00 00 08 00"),
        (b"\0\0\x08\xff" + bytes(2000), "got 00 00 08 ff"),
        (b"<html>", "got 3c 68 74 6d"),
        (b"\0\0\x08\x03" + bytes(6), "expected 3 sizes in the header, got 6 of 12 bytes"),
        (idx(labels(0)), "expected at least one item, got the shape (0,)"),
        (idx(images(2))[:-1], "expected 1568 bytes after the header, got 1567"),
        (idx(images(2)) + b"x", "expected 1568 bytes after the header, got more"),
        (idx(images(2), (2**31, 28, 28)), "expected 1683627180032 bytes after the header, got 1568"),
        (idx(labels(9), (2**31,)), "expected 2147483648 bytes after the header, got 9"),
        (idx(labels(9), (2**32 - 1,) * 4), "bytes after the header, got 9"),
        (idx(images(2), (1, 28, 28)), "expected 784 bytes after the header, got more"),
    ],
    ids=range(15),
)
def test_refuses_a_damaged_file(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    message = fail(write(tmp_path / name, data))
    assert why in message
    assert message.endswith("Delete the file to have it fetched again.")


def test_a_header_that_lies_allocates_little(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, idx(labels(9), (2**31,))) for name in ("a", "a.gz")]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
    try:
        for path in paths:
            fail(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


PACKED = gzip.compress(idx(images(50)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        PACKED[:5],
        PACKED[:10] + b"\xff" * 50,
        PACKED[: len(PACKED) // 2],
        PACKED[:-9],
        PACKED[:-1],
        flip(PACKED, -5),
        PACKED + b"x",
    ],
    ids=["empty", "page", "cut-header", "nonsense", "half", "no-trailer", "cut-trailer", "checksum", "trailing"],
)
def test_refuses_a_damaged_gzip(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    fail(path)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "FileNotFoundError" in fail(tmp_path / "a")
    assert "IsADirectoryError" in fail(tmp_path)


def test_gives_both_splits(raw: Path, tmp_path: Path) -> None:
    splits = fashionmnist(root=tmp_path)
    for (inputs, targets), count in ((splits.train, 7), (splits.test, 3)):
        assert inputs.dtype == torch.uint8
        assert targets.dtype == torch.int64
        assert torch.equal(inputs, images(count).unsqueeze(1))
        assert torch.equal(targets, labels(count).long())
    assert tuple(splits.class_names) == CLASS_NAMES
    assert splits.validation is None


def test_prefers_the_unpacked_file(raw: Path, tmp_path: Path) -> None:
    write(raw / FILES[1], idx(labels(7).flip(0)))
    assert torch.equal(fashionmnist(root=tmp_path).train[1], labels(7).flip(0).long())


def test_a_folder_of_unpacked_files(raw: Path, tmp_path: Path) -> None:
    for file in FILES:
        (raw / file).write_bytes(gzip.decompress((raw / f"{file}.gz").read_bytes()))
        (raw / f"{file}.gz").unlink()
    assert len(fashionmnist(root=tmp_path).train[0]) == 7


@pytest.mark.parametrize(
    ("file", "values", "why"),
    [
        (FILES[1], labels(6), "expected 7 labels, got the shape (6,)"),
        (FILES[3], labels(6).reshape(3, 2), "expected 3 labels, got the shape (3, 2)"),
        (FILES[0], labels(7), "expected images of 28 x 28, got (7,)"),
        (FILES[2], images(3)[:, 1:], "expected images of 28 x 28, got (3, 27, 28)"),
    ],
)
def test_files_that_do_not_fit(raw: Path, tmp_path: Path, file: str, values: Tensor, why: str) -> None:
    write(raw / f"{file}.gz", idx(values))
    with pytest.raises(DataError, match="cannot use ") as caught:
        fashionmnist(root=tmp_path)
    assert f"{raw / file}.gz: {why}" in str(caught.value)


def test_a_file_that_is_not_there_is_named(raw: Path, tmp_path: Path) -> None:
    (raw / f"{FILES[2]}.gz").unlink()
    with pytest.raises(DataError, match=FILES[2]):
        fashionmnist(root=tmp_path)


def test_torchvision_reads_the_same(fashionmnist_root: Path, tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FILES:
        with (
            gzip.open(fashionmnist_root / "FashionMNIST" / "raw" / f"{file}.gz") as packed,
            (raw / file).open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    for root in (fashionmnist_root, tmp_path):
        splits = fashionmnist(root=root)
        for (inputs, targets), count, train in ((splits.train, 60000, True), (splits.test, 10000, False)):
            expected = FashionMNIST(tmp_path, train=train)
            assert inputs.shape == (count, 1, 28, 28)
            assert torch.equal(inputs.squeeze(1), expected.data)
            assert torch.equal(targets, expected.targets)
            assert targets.dtype == expected.targets.dtype
        assert list(CLASS_NAMES) == FashionMNIST.classes


@pytest.mark.slow
def test_torchvision_is_not_needed(raw: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from zoo_plugins.datasets.fashionmnist import fashionmnist\n"
        "fashionmnist(root=sys.argv[1])\n"
        "print([name for name in ('torchvision', 'PIL', 'requests') if name in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.check_output(command, env=environment, text=True) == "[]\n"
