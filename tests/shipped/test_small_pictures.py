"""MNIST, KMNIST, CIFAR-10 and CIFAR-100: small files in their real formats, from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

import zoo
from zoo.cli.main import main
from zoo_plugins.datasets.cifar import cifar10, cifar100
from zoo_plugins.datasets.mnist import mnist

SETS = ("mnist", "kmnist", "cifar10", "cifar100")
TRAIN, TEST = 40, 20


def make_images(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)


def make_labels(count: int, classes: int = 10) -> Tensor:
    return torch.arange(count).remainder(classes).to(torch.uint8)


def pack_idx(values: Tensor) -> bytes:
    sizes = tuple(values.shape)
    return gzip.compress(struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + values.numpy().tobytes())


def pack_tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def pack_records(images: Tensor, *labels: Tensor) -> bytes:
    columns = [label.unsqueeze(1) for label in labels]
    return torch.cat([*columns, images.flatten(1)], dim=1).numpy().tobytes()


def make_digits(folder: str) -> dict[str, bytes]:
    parts = {"train": (TRAIN, 1), "t10k": (TEST, 2)}
    images = {name: pack_idx(make_images(count, (28, 28), seed)) for name, (count, seed) in parts.items()}
    labels = {name: pack_idx(make_labels(count)) for name, (count, _) in parts.items()}
    return {
        **{f"{folder}/raw/{name}-images-idx3-ubyte.gz": data for name, data in images.items()},
        **{f"{folder}/raw/{name}-labels-idx1-ubyte.gz": data for name, data in labels.items()},
    }


def make_cifar10(**changed: bytes) -> dict[str, bytes]:
    folder, names = (
        "cifar-10-batches-bin",
        "\n".join(zoo.Registry.discover().get("dataset", "cifar10").spec.class_names),
    )
    images, labels = make_images(TRAIN, (3, 32, 32), 1), make_labels(TRAIN)
    batches = zip(images.split(TRAIN // 5), labels.split(TRAIN // 5), strict=True)
    files = {f"data_batch_{number}": pack_records(*batch) for number, batch in enumerate(batches, start=1)}
    files["test_batch"] = pack_records(make_images(TEST, (3, 32, 32), 2), make_labels(TEST))
    packed = {f"{folder}/{name}.bin": data for name, data in {**files, **changed}.items() if data}
    return {"cifar-10-binary.tar.gz": pack_tar({f"{folder}/batches.meta.txt": f"{names}\n\n".encode(), **packed})}


def make_cifar100() -> dict[str, bytes]:
    names = "\n".join(zoo.Registry.discover().get("dataset", "cifar100").spec.class_names)
    parts = {"train": (2 * 100, 1), "test": (100, 2)}
    files = {f"cifar-100-binary/{name}.bin": b"" for name in parts}
    for name, (count, seed) in parts.items():
        coarse, fine = make_labels(count, 20), make_labels(count, 100)
        files[f"cifar-100-binary/{name}.bin"] = pack_records(make_images(count, (3, 32, 32), seed), coarse, fine)
    return {"cifar-100-binary.tar.gz": pack_tar({"cifar-100-binary/fine_label_names.txt": names.encode(), **files})}


FILES: dict[str, Callable[[], dict[str, bytes]]] = {
    "mnist": partial(make_digits, "MNIST"),
    "kmnist": partial(make_digits, "KMNIST"),
    "cifar10": make_cifar10,
    "cifar100": make_cifar100,
}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Return the address of a server of the folder `served`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "served"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_manifest(path: Path, name: str, files: dict[str, bytes], address: str) -> Path:
    """Write an entry with the factory of zoo's own one and other addresses, sizes and checksums."""
    spec = zoo.Registry.discover().get("dataset", name).spec
    lines = ["schema = 1", f"[datasets.small-{name}]", f'factory = "{spec.factory}"']
    for place, data in files.items():
        served = path.parent / "served" / place
        served.parent.mkdir(parents=True, exist_ok=True)
        served.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        lines += [f"[[datasets.small-{name}.files]]", f'path = "{place}"', f"size = {len(data)}"]
        lines += [f'sha256 = "{sha256}"', f'urls = ["{address}/{place}"]']
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", SETS)
def test_it_is_fetched_read_and_trained_on(name, tmp_path, address, capsys):
    manifest = write_manifest(tmp_path / "small.toml", name, FILES[name](), address)
    declared = zoo.Registry.discover().get("dataset", name).spec
    assert {file.path for file in declared.files} == {*FILES[name]()}
    places = ["--data-dir", str(tmp_path / "data"), "--runs-dir", str(tmp_path / "runs"), "--plugin", str(manifest)]
    command = ["run", "--model", "baseline", "--dataset", f"small/small-{name}", "--epochs", "1", *places]
    assert main(command) == 0, capsys.readouterr().err
    splits = zoo.load_dataset(f"small/small-{name}", plugins=[manifest], data_dir=tmp_path / "data", offline=True)
    assert tuple(splits.class_names) == declared.class_names
    assert isinstance(splits.train, tuple) and isinstance(splits.test, tuple)
    (images, targets), (test_images, test_targets) = splits.train, splits.test
    shape = (28, 28) if "mnist" in name else (3, 32, 32)
    assert tuple(images.shape[1:]) == declared.input_shape
    assert torch.equal(images.reshape(-1, *shape), make_images(len(targets), shape, 1))
    assert torch.equal(test_images.reshape(-1, *shape), make_images(len(test_targets), shape, 2))
    assert torch.equal(targets, make_labels(len(targets), len(splits.class_names)).long())
    assert torch.equal(test_targets, make_labels(len(test_targets), len(splits.class_names)).long())


@pytest.mark.parametrize(
    ("name", "reader"), [("MNIST", torchvision.datasets.MNIST), ("KMNIST", torchvision.datasets.KMNIST)]
)
def test_what_torchvision_downloaded_is_read_as_torchvision_reads_it(name, reader, tmp_path):
    for place, data in make_digits(name).items():
        path = tmp_path / place.removesuffix(".gz")  # it unpacks what it downloads
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress(data))
    factory = getattr(__import__("zoo_plugins.datasets.mnist", fromlist=["mnist"]), name.lower())
    splits = factory(root=tmp_path)
    for train, (images, targets) in ((True, splits.train), (False, splits.test)):
        theirs = reader(tmp_path, train=train)
        assert torch.equal(images.squeeze(1), theirs.data) and torch.equal(targets, theirs.targets)
    if name == "KMNIST":
        assert [*splits.class_names] == theirs.classes


WRONG = {
    "no archive": (None, "FileNotFoundError"),
    "no tar": (gzip.compress(b"x" * 2000), "ReadError"),
    "cut": (make_cifar10()["cifar-10-binary.tar.gz"][:3000], "unexpected end of data"),
    "no batch": (
        make_cifar10(data_batch_3=b"")["cifar-10-binary.tar.gz"],
        "expected a file cifar-10-batches-bin/data_batch_3.bin",
    ),
    "half a record": (
        make_cifar10(test_batch=b"x" * 3000)["cifar-10-binary.tar.gz"],
        "test_batch.bin: expected records of 3073",
    ),
    "label": (make_cifar10(test_batch=bytes([10]) + bytes(3072))["cifar-10-binary.tar.gz"], "label 10 of 10 classes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_archive_is_told_with_its_path(case, tmp_path):
    data, why = WRONG[case]
    if data is not None:
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(data)
    with pytest.raises(zoo.DataError) as caught:
        cifar10(root=tmp_path)
    assert why in str(caught.value) and str(tmp_path / "cifar-10-binary.tar.gz") in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    for factory, file in ((mnist, "train-images-idx3-ubyte.gz"), (cifar100, "cifar-100-binary.tar.gz")):
        with pytest.raises(zoo.DataError, match=file):
            factory(root=tmp_path)
