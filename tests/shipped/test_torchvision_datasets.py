"""torchvision's data sets as a catalogue: small files in their real formats, from a server on this machine.

Tables of addresses and checksums are replaced, and no reader.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import multiprocessing
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import torchvision
from test_catalogues import installed_version
from torchvision_files import CLASSES, MAKERS, TEST, TRAIN, VALIDATION, Source, cifar10, draw, tar, zipped

import zoo
from zoo.cli.main import main
from zoo.data.loading import find_false_claims
from zoo.registry.manifest import read_manifest
from zoo.registry.specs import DatasetSpec, FileSpec
from zoo_plugins.torchvision import archives
from zoo_plugins.torchvision import datasets as catalogue
from zoo_plugins.torchvision.archives import lay_out, unpack
from zoo_plugins.torchvision.reading import divide

MANIFEST = Path(catalogue.__file__).parent / "registry.toml"
SPECS = {spec.name: spec for spec in read_manifest(MANIFEST).specs if isinstance(spec, DatasetSpec)}
LEFT_OUT = {
    **dict.fromkeys(("CocoCaptions", "Flickr30k", "Flickr8k", "SBU"), "captions"),
    **dict.fromkeys(("CocoDetection", "Kitti", "VOCDetection", "WIDERFace"), "boxes"),
    **dict.fromkeys(("Cityscapes", "SBDataset", "VOCSegmentation"), "areas"),
    **dict.fromkeys(("CelebA",), "attributes, or people of whom the test split knows others"),
    **dict.fromkeys(("HMDB51", "Kinetics", "MovingMNIST", "UCF101"), "videos"),
    **dict.fromkeys(("FlyingChairs", "FlyingThings3D", "HD1K", "KittiFlow", "Sintel"), "flow"),
    **dict.fromkeys(("CREStereo", "CarlaStereo", "ETH3DStereo", "FallingThingsStereo", "InStereo2k"), "depth"),
    **dict.fromkeys(("Kitti2012Stereo", "Kitti2015Stereo", "Middlebury2014Stereo"), "depth"),
    **dict.fromkeys(("SceneFlowStereo", "SintelStereo"), "depth"),
    **dict.fromkeys(("LFWPairs", "PhotoTour"), "pairs of pictures"),
    **dict.fromkeys(("DatasetFolder", "ImageFolder", "VisionDataset"), "no data set, but a way to make one"),
    **dict.fromkeys(("FakeData",), "noise with random classes"),
    **dict.fromkeys(("LSUN", "LSUNClass"), "it reads a pickle of the current folder that nothing verifies"),
}

KEPT = {
    *("caltech101", "caltech256", "clevr", "country211", "dtd", "fgvc-aircraft", "flowers102", "food101", "gtsrb"),
    *("imagenette", "imagenette-160", "imagenette-320", "oxford-iiit-pet", "rendered-sst2", "stanford-cars"),
}
"""Files that zoo decodes once and keeps; docs/reference/datasets.md lists them."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Return a folder and the address of a server of it."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


Offer = Callable[..., dict[str, Any]]


@pytest.fixture
def offer(served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Return a function that offers small files for a data set of the catalogue, as `small/NAME`.

    It returns the arguments with which zoo's functions find them. Only the tables of torchvision's classes and the
    files of the entry are replaced.
    """
    folder, address = served

    def offer(name: str, source: Source, **changed: bytes) -> dict[str, Any]:
        for owner, attribute, value in source.patches:
            monkeypatch.setattr(owner, attribute, value)
        files = []
        for file in SPECS[name].files:
            short = file.path.rpartition("/")[2]
            data = source.files[short]
            (folder / short).write_bytes(changed.get(short.partition(".")[0], data))
            known = {"md5": hashlib.md5(data).hexdigest()} if file.md5 else {"sha256": hashlib.sha256(data).hexdigest()}
            size = None if file.size is None else len(data)
            files.append(FileSpec(path=file.path, urls=(f"{address}/{short}",), size=size, **known))
        registry = zoo.Registry.discover()
        unclaimed = {"samples": {}, "class_names": (), "num_classes": None}
        registry.add(replace(SPECS[name], files=tuple(files), **unclaimed), plugin="small")
        return {"registry": registry, "data_dir": tmp_path / "data"}

    return offer


def look(name: str, image: Any) -> tuple[int, int]:
    """Return the class that a picture tells, and the split or number."""
    pixels = image.numpy() if isinstance(image, torch.Tensor) else numpy.asarray(image)
    if name == "semeion":
        return int((pixels == 255).sum()) - 1, 0
    if name == "omniglot":
        rows = (pixels == 0).all(axis=-1).reshape(-1)
        return int(rows.argmax()), 0
    red_seen, green_seen = (float(pixels[channel].mean()) for channel in (0, min(1, len(pixels) - 1)))
    return round((red_seen - 5) / 10), round(green_seen)


def look_at_array(image: torch.Tensor) -> int:
    """Return the class that an image of a small data set tells; check which are its rows."""
    assert (image[..., 0, 1] >= 254).all() and (image[..., 1, 0] < 254).all()
    return round((float(image[0, -1, -1]) - 5) / 10)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_it_is_fetched_and_read(name: str, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MAKERS[name]()
    places = offer(name, source)
    by_hand = not any(file.urls for file in SPECS[name].files)
    if by_hand:
        for file in SPECS[name].files:
            path = tmp_path / "data" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.files[path.name])
    splits = zoo.load_dataset(f"small/{name}", **places)
    check_splits(name, splits)
    described = zoo.describe_dataset(f"small/{name}", **places).splits["train"]
    assert described.inputs[1:] == splits_shape(name)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    again = zoo.load_dataset(f"small/{name}", offline=True, **places)
    assert [len(split[1]) if isinstance(split, tuple) else len(split) for _, split in again.items()] == [
        len(split[1]) if isinstance(split, tuple) else len(split) for _, split in splits.items()
    ]
    assert not list((tmp_path / "data").rglob("*.part"))


def splits_shape(name: str) -> tuple[int, ...] | None:
    """Return the shape of the inputs of a data set: what it declares, but for the one that is cut without a resize."""
    return (3, 224, 224) if name == "places365" else SPECS[name].input_shape


def check_splits(name: str, splits: zoo.DataSplits) -> None:
    spec, names = SPECS[name], list(splits.class_names)
    assert {part for part, _ in splits.items()} == set(spec.samples or ("train", "test"))
    if name in ("clevr", "dtd", "eurosat", "gtsrb", "oxford-iiit-pet"):  # the small files have a few of them
        assert len(names) == CLASSES and set(names) < set(spec.class_names)
    elif spec.class_names:
        assert tuple(names) == spec.class_names
    if name == "imagenet":
        assert names == ["tench", "crane (n01443537)", "crane (n03126707)"]
    seen = dict[str, list[tuple[int, int]]]()
    for part, split in splits.items():
        if name in catalogue.RESIDENT:
            assert isinstance(split, tuple), "small data sets are tensors"
            images, targets = split
            assert images.dtype == torch.uint8 and targets.dtype == torch.int64
            assert tuple(images.shape[1:]) == spec.input_shape
            told = [look(name, image)[0] if name == "semeion" else look_at_array(image) for image in images]
            assert targets.tolist() == told
            seen[part] = [(target, index) for index, target in enumerate(told)]
        else:
            assert not isinstance(split, tuple), "large data sets are read one by one"
            assert isinstance(split.dataset, zoo.ImageFiles) == (name in KEPT)
            pairs = [split[index] for index in range(len(split))]
            seen[part] = [look(name, image) for image, _ in pairs]
            assert [target for _, target in pairs] == [target for target, _ in seen[part]]
            assert list(split.dataset.targets) == [target for _, target in pairs]
            assert {image.shape[0] for image, _ in pairs} == {spec.input_shape[0]}
    if name in (*catalogue.DIVIDED, "semeion"):
        check_shares(seen["train"], seen["test"])
    elif name not in catalogue.RESIDENT:
        greens = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
        assert all(abs(green - greens[part]) <= 2 for part, told in seen.items() for _, green in told)


def check_shares(train: list[tuple[int, int]], test: list[tuple[int, int]]) -> None:
    for target in {target for target, _ in train}:
        of_class = [sum(each == target for each, _ in part) for part in (train, test)]
        assert abs(of_class[1] - sum(of_class) / 5) <= 1
    assert len(test) == (len(train) + len(test)) // 5


def test_a_test_split_is_made_of_a_fifth_of_each_class_the_same_each_time() -> None:
    targets = [3, 1, 1, 0, 2, 1, 0] * 30
    train, test = divide(targets)
    assert sorted([*train, *test]) == list(range(len(targets)))
    assert [sum(targets[index] == target for index in test) for target in range(4)] == [12, 18, 6, 6]
    assert test[:6].tolist() == [2, 3, 21, 22, 24, 34]


@pytest.mark.parametrize("name", ["caltech256", "eurosat", "gtsrb", "inaturalist-mini", "omniglot", "sun397"])
def test_samples_have_one_order_whatever_the_order_of_a_folder(
    name: str, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, listdir, scandir = offer(name, MAKERS[name]()), os.listdir, os.scandir

    class Scan(list[Any]):
        def __init__(self, *given: Any, forward: bool) -> None:
            with scandir(*given) as entries:
                super().__init__(sorted(entries, key=lambda entry: entry.name, reverse=not forward))

        def __enter__(self) -> Iterator[Any]:
            return iter(self)

        def __exit__(self, *_: object) -> None:
            pass

        def __next__(self) -> Any:
            if not self:
                raise StopIteration
            return self.pop(0)

    def read(forward: bool) -> list[Any]:
        with monkeypatch.context() as changed:
            changed.setattr(os, "listdir", lambda *given: sorted(listdir(*given), reverse=not forward))
            changed.setattr(os, "scandir", lambda *given: Scan(*given, forward=forward))
            splits = zoo.load_dataset(f"small/{name}", **places)
            pairs = [split[index] for _, split in splits.items() for index in range(len(split))]
        return [(image.tolist(), target) for image, target in pairs]

    zoo.load_dataset(f"small/{name}", **places)
    assert read(forward=True) == read(forward=False)


def test_pictures_are_decoded_once_whole_or_not_at_all(offer: Offer, tmp_path: Path) -> None:
    places = {**offer("food101", MAKERS["food101"]()), "runs_dir": tmp_path / "runs"}
    first = zoo.run("baseline", "small/food101", epochs=1, seed=1, **places)
    (rows,) = Path(os.environ["ZOO_HOME"], "pictures").glob("*/*.rows")
    decoded = rows.stat()
    assert zoo.run("baseline", "small/food101", epochs=1, seed=1, **places).metrics == first.metrics
    assert rows.stat().st_ino == decoded.st_ino
    picture = next((tmp_path / "data").rglob("food-101/images/*/*.jpg"))
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(zoo.DataError, match=f"1 of .* pictures cannot be used: .*{picture.name}"):
        zoo.run("baseline", "small/food101", epochs=1, seed=1, **places)


def test_the_page_lists_what_is_kept_decoded() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "datasets.md").read_text()
    listed = re.search(r"decoded once and kept:\s(.*?)\.", page, re.DOTALL)
    assert listed is not None and {*re.findall(r"`(.*?)`", listed[1])} == KEPT


@pytest.mark.slow
def test_the_real_clothes_are_those_of_zoos_own_reader(fashionmnist_root: Path, tmp_path: Path) -> None:
    for file in SPECS["fashionmnist"].files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(fashionmnist_root / "FashionMNIST" / "raw" / path.name)
    registry = zoo.Registry.discover()
    theirs = zoo.load_dataset("torchvision/fashionmnist", data_dir=tmp_path, offline=True, registry=registry)
    ours = zoo.load_dataset("fashionmnist", data_dir=fashionmnist_root, offline=True)
    for mine, its in ((ours.train, theirs.train), (ours.test, theirs.test)):
        assert all(torch.equal(*pair) for pair in zip(mine, its, strict=True))
    assert find_false_claims(SPECS["fashionmnist"], theirs, (1, 28, 28)) == []
    assert tuple(ours.class_names) == tuple(theirs.class_names)


@pytest.mark.parametrize(
    ("name", "params", "classes", "train"),
    [
        ("emnist", {"split": "letters"}, 26, 12),
        ("emnist", {"split": "byclass"}, 62, 12),
        ("dtd", {"partition": "2"}, 3, 3),
        ("oxford-iiit-pet", {"target": "species"}, 2, 12),
        ("fgvc-aircraft", {"level": "manufacturer"}, 2, 12),
        ("fgvc-aircraft", {"level": "family"}, 3, 12),
    ],
)
def test_params_choose_what_torchvisions_class_lets_choose(
    name: str, params: dict[str, str], classes: int, train: int, offer: Offer
) -> None:
    places = offer(name, MAKERS[name]())
    zoo.load_dataset(f"small/{name}", **places)
    splits = zoo.load_dataset(f"small/{name}", params=params, **places)
    assert len(splits.class_names) == classes
    split = splits.train
    assert (len(split[1]) if isinstance(split, tuple) else len(split)) == train
    if name == "emnist":
        assert [look_at_array(image) for image in split[0]] == split[1].tolist()


@pytest.mark.parametrize(("least", "people"), [(20, ["Abdullah_Gul", "Zico"]), (1, None)])
def test_people_with_few_pictures_are_left_out(
    least: int, people: list[str] | None, offer: Offer, tmp_path: Path
) -> None:
    places = offer("lfw", MAKERS["lfw"]())
    if people is None:
        with pytest.raises(zoo.UsageError, match="min_images: expected at least 2, got 1"):
            zoo.load_dataset("small/lfw", params={"min_images": least}, **places)
    else:
        splits = zoo.load_dataset("small/lfw", params={"min_images": least}, **places)
        assert (list(splits.class_names), len(splits.train), len(splits.test)) == (people, 36, 9)


class Evil:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled_before_its_hash_is_right(offer: Offer, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = pickle.dumps(Evil(mark))
    pickle.loads(evil)
    mark.unlink()  # it is there when the pickle is read, and only then
    good, bad = cifar10(), cifar10(data_batch_2=evil).files["cifar-10-python.tar.gz"]
    places = offer("cifar10", good, **{"cifar-10-python": bad})
    with pytest.raises(zoo.DownloadError, match=r"cifar-10-python.tar.gz: .*(expected SHA-256|sent)"):
        zoo.load_dataset("small/cifar10", **places)
    folder = tmp_path / "data" / "torchvision" / "cifar10"
    assert not list(folder.glob("*"))
    (folder / "cifar-10-python.tar.gz").write_bytes(bad)
    with pytest.raises(
        zoo.DataError, match=r"is not the file that small/cifar10 needs.* Delete it to have it fetched again"
    ):
        zoo.load_dataset("small/cifar10", **places)
    assert [path.name for path in folder.iterdir()] == ["cifar-10-python.tar.gz"]
    (folder / "cifar-10-python.tar.gz").unlink()
    places = offer("cifar10", good)
    zoo.load_dataset("small/cifar10", **places)
    (unpacked,) = folder.glob("unpacked-*")
    (unpacked / "cifar-10-batches-py" / "data_batch_2").write_bytes(evil)
    with pytest.raises(zoo.DataError, match=f"torchvision cannot read {unpacked}.* Delete {unpacked} to have it made"):
        zoo.load_dataset("small/cifar10", **places)
    assert not mark.exists()


def test_a_download_that_is_cut_leaves_nothing(offer: Offer, tmp_path: Path) -> None:
    source = MAKERS["caltech101"]()
    places = offer("caltech101", source, **{"caltech-101": source.files["caltech-101.zip"][:1000]})
    with pytest.raises(zoo.DownloadError, match=r"caltech-101.zip: .*expected MD5"):
        zoo.load_dataset("small/caltech101", **places)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", sorted(SPECS))
def test_offline_is_told_without_a_connection(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "NEEDS", {})
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    command = [
        "run",
        "--model",
        "baseline",
        "--dataset",
        f"torchvision/{name}",
        "--offline",
        "--data-dir",
        str(tmp_path),
    ]
    assert main([*command, "--runs-dir", str(tmp_path / "runs")]) == 6
    told = capsys.readouterr().err
    assert f"offline and not there: torchvision/{name}/" in told and str(tmp_path) in told


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not any(file.urls for file in spec.files)])
def test_what_is_to_be_got_by_hand_is_said_with_its_source_and_its_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    with pytest.raises(zoo.DownloadError) as caught:
        zoo.load_dataset(f"torchvision/{name}", data_dir=tmp_path)
    files = [file.path for file in SPECS[name].files]
    told = str(caught.value)
    assert f"Get {', '.join(files)} from {SPECS[name].homepage} and add them" in told
    assert f"zoo.data_add('torchvision/{name}', 'FILE')" in told


@pytest.mark.parametrize("name", sorted(catalogue.NEEDS))
def test_a_package_that_is_missing_is_named_before_anything_is_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = catalogue.NEEDS[name]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    for use in (zoo.load_dataset, partial(zoo.run, "baseline", runs_dir=tmp_path)):
        with pytest.raises(zoo.UsageError, match=f"needs {package}: it is not installed. pip install {package}"):
            use(f"torchvision/{name.replace('_', '-')}", data_dir=tmp_path)


def test_a_torchvision_that_lacks_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torchvision.datasets, "Food101")
    with pytest.raises(zoo.UsageError, match=r"cannot read data set 'food101': it has no Food101.*pip install -U"):
        zoo.load_dataset("torchvision/food101", data_dir=tmp_path)


@pytest.fixture
def unsettled() -> Iterator[None]:
    """Let this process not have settled on a way to start others, as it is when a command begins."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("unsettled")
def test_pictures_of_many_sizes_train_and_predict_with_workers(
    offer: Offer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = offer("flowers102", MAKERS["flowers102"]())
    result = zoo.run("baseline", "small/flowers102", epochs=1, workers=2, batch_size=4, runs_dir=tmp_path, **places)
    assert result.history[0]["train"]["loss"] > 0
    assert "start method" not in caplog.text  # that workers are started is no change by a plugin
    path = tmp_path / "new.jpg"
    path.write_bytes(draw(1, 150, size=(500, 333)))
    assert zoo.predict(result.weights, path, registry=places["registry"]).probabilities.shape == (1, 102)
    again = zoo.evaluate(result.weights, "small/flowers102", **places)
    assert again.metrics["accuracy"] == result.metrics["accuracy"]


def test_every_class_of_torchvision_is_in_the_catalogue_or_left_out_for_a_reason() -> None:
    made_from = re.search(r"# The data sets of torchvision ([\d.]+) ", MANIFEST.read_text(encoding="utf-8"))
    assert made_from is not None
    readers = catalogue.READERS
    assert {name.replace("-", "_") for name in SPECS} == set(readers)
    assert list(SPECS) == sorted(SPECS)
    assert not set(LEFT_OUT) & set(readers.values())
    classes = {name for name in torchvision.datasets.__all__ if inspect.isclass(getattr(torchvision.datasets, name))}
    if installed_version("torchvision").startswith(made_from[1]):
        assert classes == {*LEFT_OUT, *readers.values()}
    assert set(MAKERS) | {"pcam"} == set(SPECS)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_the_files_are_those_of_torchvision(name: str) -> None:
    reader = catalogue.READERS[name.replace("-", "_")]
    source = Path(inspect.getsourcefile(getattr(torchvision.datasets, reader)) or "").read_text(encoding="utf-8")
    for file in SPECS[name].files:
        short = file.path.rpartition("/")[2]
        assert file.path == f"torchvision/{name}/{short}"
        if name != "stanford-cars":  # torchvision knows no archives of it
            # torchvision adds the ending of some in its code.
            assert short in source or (name in ("omniglot", "pcam") and short.rpartition(".")[0] in source)
        assert all(url.endswith(f"/{short}") for url in file.urls)
        assert not file.md5 or file.md5 in source or name == "fgvc-aircraft"


def test_listing_and_showing_import_no_library() -> None:
    code = """
import sys
from zoo.cli.main import cli
for arguments in (["list", "datasets", "--search", "torchvision/*"], ["show", "torchvision/food101"]):
    cli(arguments, standalone_mode=False)
assert not {"torch", "torchvision", "numpy", "PIL"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(any(f"  torchvision/{name} " in line for line in lines) for name in SPECS)
    assert max(len(line) for line in lines if line.startswith("  torchvision/")) <= 80
    assert "samples      train 75750, test 25250" in done.stdout and "101" in done.stdout


def test_the_catalogue_takes_no_name_from_zoos_own_data_sets() -> None:
    assert zoo.Registry.discover().get("dataset", "cifar10").plugin.name == "zoo"
    with pytest.raises(zoo.UnknownNameError, match=r"'food101'.* 'torchvision/food101'"):
        zoo.Registry.discover().get("dataset", "food101")


def special(kind: bytes, name: str = "a", target: str = "") -> bytes:
    """Return an archive with one member that is no regular file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)
    return stream.getvalue()


def twice() -> bytes:
    """Return an archive with two members of one name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a"))
    return stream.getvalue()


def damage(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


NOISE = numpy.random.default_rng(0).bytes(9000)
EVIL: dict[str, tuple[str, bytes, str]] = {
    "above": ("a.tar.gz", tar({"../evil": b"x"}), "would leave the folder"),
    "above, within": ("a.tar", tar({"a/../../evil": b"x"}, "w"), "would leave the folder"),
    "absolute": ("a.tar", tar({"/tmp/evil": b"x"}, "w"), "would leave the folder"),
    "drive": ("a.tar", tar({"C:evil": b"x"}, "w"), "would leave the folder"),
    "backslash": ("a.zip", zipped({"..\\evil": b"x"}), "would leave the folder"),
    "above, zipped": ("a.zip", zipped({"../evil": b"x"}), "would leave the folder"),
    "symbolic link": ("a.tar", special(b"2", target="/etc"), "is not a regular file"),
    "hard link": ("a.tar", special(b"1", target="b"), "is not a regular file"),
    "device": ("a.tar", special(b"3"), "is not a regular file"),
    "pipe": ("a.tar", special(b"6"), "is not a regular file"),
    "same name": ("a.tar", twice(), "is there twice"),
    "bomb": ("a.tar.gz", tar({"a": bytes(80 << 20)}), "more than 20 times its size"),
    "cut": (
        "a.tar.gz",
        tar({"a": NOISE})[:5000],
        "Delete it to have it fetched again",
    ),
    "no archive": ("a.zip", b"<html>", "Delete it to have it fetched again"),
    "damaged": ("a.zip", damage(zipped({"a": NOISE})), "Delete it to have it fetched again"),
    "no gzip": ("a.gz", b"hello", "Delete it to have it fetched again"),
}


@pytest.mark.parametrize("case", EVIL)
def test_an_archive_that_is_not_as_it_should_be_leaves_nothing(case: str, tmp_path: Path) -> None:
    name, data, why = EVIL[case]
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    with pytest.raises(zoo.DataError) as caught:
        lay_out(folder, {name: "into"})
    assert why in str(caught.value) and str(folder / name) in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]
    assert [path.name for path in folder.iterdir()] == [name]


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    (tmp_path / "a.tar").write_bytes(tar(dict.fromkeys("abcd", b""), "w"))
    with pytest.raises(zoo.DataError, match="more than 3 members"):
        lay_out(tmp_path, {"a.tar": ""})


def test_what_is_unpacked_has_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"a": b"1", "b/c": b"2"}, "w"))
    (tmp_path / "d.txt").write_bytes(b"3")
    layout = {"a.tar": "x", "d.txt": "y"}

    def stop(_: Path) -> None:
        assert list(tmp_path.glob(".unpacked-*.part")) and not list(tmp_path.glob("unpacked-*"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lay_out(tmp_path, layout, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "d.txt"]

    def lose_the_race(_: Path) -> None:
        lay_out(tmp_path, layout)

    made = lay_out(tmp_path, layout, lose_the_race)
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()) == [
        "x/a",
        "x/b/c",
        "y/d.txt",
    ]
    assert lay_out(tmp_path, layout, stop) == made  # nothing is done again
    (tmp_path / "a.tar").write_bytes(tar({"a": b"another"}, "w") + bytes(10240))
    assert (lay_out(tmp_path, layout) / "x" / "a").read_bytes() == b"another"
    assert sorted(path.name[:9] for path in tmp_path.iterdir()) == ["a.tar", "d.txt", "unpacked-", "unpacked-"]


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"a": b"1"}, "w"))
    left = tmp_path / ".unpacked-0123456789ab.123-deadbeef.part"
    (left / "inside").mkdir(parents=True)
    lay_out(tmp_path, {"a.tar": "x"})
    assert left.is_dir()
    monkeypatch.setattr(archives, "DAY", -1.0)
    lay_out(tmp_path, {"a.tar": "y"})
    assert not left.exists()


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.tar").write_bytes(tar({"a": b"1"}, "w"))
    monkeypatch.setattr(archives, "_write", full)
    with pytest.raises(zoo.StorageError, match=r"No space left on device.*data_dir="):
        lay_out(tmp_path, {"a.tar": ""})
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_files_are_copied_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(archives.os, "link", refuse)
    (tmp_path / "a.txt").write_bytes(b"1")
    assert (lay_out(tmp_path, {"a.txt": "x"}) / "x" / "a.txt").read_bytes() == b"1"


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"x/a": b"1", "x/b": b"2", "__MACOSX/x/._a": b""}))
    unpack(tmp_path / "a.zip", tmp_path / "into", lambda name: name == "x/b")
    assert [path.name for path in (tmp_path / "into").rglob("*") if path.is_file()] == ["b"]
