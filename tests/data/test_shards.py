"""Shards: tar files give what was written to them, in any process, and damage is told by its place."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from io import BytesIO

import numpy
import pytest
import torch
from pictures import make_folder
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import zoo
from zoo.cli.main import main
from zoo.data import shard_writing
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.data.fitted import fit_split
from zoo.data.order import draw_in_windows, epoch_order
from zoo.data.ranks import ALONE, Ranks
from zoo.data.shards import OFFSET, find_shards
from zoo.data.tars import list_samples
from zoo.errors import DataError, UsageError
from zoo.registry.preprocess import Preprocess
from zoo.storage.locks import lock

PARAMS = {"train_size": 300, "test_size": 60}
SIZE = "60kB"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return a folder with 300 and 60 samples of shapes in 14 and 3 tar files. Nobody changes it."""
    folder = tmp_path_factory.mktemp("written") / "shards"
    zoo.data_shard("shapes", folder, size=SIZE, dataset_params=PARAMS)
    return folder


def batches_of(split, workers=0, size=32, seed=3, ranks=ALONE):
    settings = BatchSettings(
        batch_size=size, device=torch.device("cpu"), shuffle_seed=seed, workers=workers, ranks=ranks
    )
    return make_batches(split, Preprocess(), settings, name="shards", num_classes=10)


def read_all(split):
    return torch.stack([split[index][0] for index in range(len(split))]), [int(split[i][1]) for i in range(len(split))]


def test_samples_of_a_few_shards_come_together_and_each_comes_once_an_epoch():
    for samples, groups, window, seed in ((1, 1, 1, 0), (97, 10, 3, 1), (500, 40, 16, 7), (64, 64, 5, 2)):
        of_sample = torch.arange(samples)[torch.randperm(samples)] % groups
        orders = [draw_in_windows((of_sample, window), seed, epoch) for epoch in range(4)]
        assert all(sorted(order.tolist()) == list(range(samples)) for order in orders)
        assert samples == 1 or len({tuple(order.tolist()) for order in orders}) == 4
        for order in orders:
            place, seen = 0, set()
            while place < samples:  # the shards of a window, up to its last sample
                there = set(of_sample[order[place:]].tolist())
                first = set()
                while place < samples and len(first | {int(of_sample[order[place]])}) <= window:
                    first.add(int(of_sample[order[place]]))
                    place += 1
                assert not first & seen and first <= there
                seen |= first
    whole = torch.arange(50) % 5
    assert torch.equal(draw_in_windows((whole, 5), 3, 2), epoch_order(50, 3, 2))


@pytest.mark.slow
def test_a_training_on_shards_is_that_on_the_data_set(shards, tmp_path):
    options = {"epochs": 2, "batch_size": 32, "threads": 1, "lr": 0.05}
    options |= {"validation": 0.2, "balanced_sampling": True, "class_weights": "balanced", "augment": "flip,mixup"}
    found = [
        zoo.run("baseline", "shapes", dataset_params=PARAMS, runs_dir=tmp_path, epochs=2, threads=1),
        *(zoo.run("baseline", str(shards), runs_dir=tmp_path, epochs=2, threads=1, workers=n) for n in (0, 2)),
    ]
    states = [zoo.load_model(run.weights).state_dict() for run in found]
    assert all(torch.equal(states[0][name], state[name]) for state in states[1:] for name in state)
    assert found[0].metrics == found[1].metrics == found[2].metrics
    assert zoo.evaluate(found[1].weights, workers=2).metrics == found[0].metrics
    assert zoo.run("baseline", str(shards), runs_dir=tmp_path, **options).metrics["loss"] > 0


def test_more_shards_than_a_window_are_read_by_windows_in_any_process(shards):
    split = zoo.read_shards(shards, window=3).train
    groups, window = split.list_groups()
    assert window == 3 and len(groups.unique()) == len(split.files) == 14
    sent = pickle.dumps(split)
    assert len(sent) < split.rows.nbytes and torch.equal(pickle.loads(sent)[7][0], split[7][0])
    part = pickle.loads(pickle.dumps(split.take([9, 7])))
    assert len(part) == 2 and torch.equal(part[1][0], split[7][0])
    found = [list(batches_of(split, workers).epoch(1)) for workers in (0, 2)]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    order = draw_in_windows((groups, 3), 3, 1)
    images, targets = read_all(split)
    assert torch.equal(torch.cat([inputs for inputs, _ in found[0]]), images[order].float() / 255)
    assert torch.cat([classes for _, classes in found[0]]).tolist() == [targets[place] for place in order]
    fitted = fit_split(split, Preprocess(resize=14, crop=(14, 14), rounded=True))
    assert torch.cat([classes for _, classes in batches_of(fitted).epoch(1)]).tolist() == [targets[i] for i in order]
    later = torch.cat([inputs for inputs, _ in batches_of(split).epoch(1, start=7)])
    assert torch.equal(later, torch.cat([inputs for inputs, _ in found[0]])[7 * 32 :])


@pytest.mark.parametrize("seed", [3, None])
def test_ranks_share_the_batches_that_one_process_has_and_give_each_sample_once(shards, seed):
    split = zoo.read_shards(shards, window=2).test if seed is None else zoo.read_shards(shards, window=2).train
    for count, size, workers, epoch in ((2, 32, 0, 0), (3, 7, 0, 1), (5, 64, 0, 2), (7, 3, 0, 1), (2, 50, 2, 1)):
        whole = list(batches_of(split, size=size, seed=seed).epoch(epoch))
        ranks = [Ranks(index=index, count=count) for index in range(count)]
        parts = [list(batches_of(split, workers, size, seed, rank).epoch(epoch)) for rank in ranks]
        for batch, *shared in zip(whole, *parts, strict=True):
            for one, pieces in zip(batch, zip(*shared, strict=True), strict=True):
                assert torch.equal(one, torch.cat([piece for piece in pieces if len(piece)]))
        assert sum(len(targets) for part in parts for _, targets in part) == len(split)


def test_the_bytes_of_shards_follow_from_the_data_alone(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)
    zoo.data_shard("shapes", tmp_path / "again", size=SIZE, dataset_params=PARAMS)
    names = sorted(path.name for path in shards.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir()) and len(names) == 14 + 3 + 2 + 1
    assert all((shards / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert all(path.stat().st_size <= 60_000 for path in shards.glob("*.tar"))
    once_more = zoo.data_shard(str(shards), tmp_path / "larger", size="1MB")
    assert [len(files) for files in once_more.splits.values()] == [1, 1]
    images, targets = read_all(zoo.read_shards(tmp_path / "larger").train)
    assert torch.equal(images, zoo.load_dataset("shapes", params=PARAMS).train[0])
    assert targets == zoo.load_dataset("shapes", params=PARAMS).train[1].tolist()


# webdataset leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_what_zoo_writes(shards):
    import webdataset

    paths = [str(path) for path in sorted(shards.glob("train-*.tar"))]
    read = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode("pil"))
    images, targets = zoo.load_dataset("shapes", params=PARAMS).train
    assert sorted(int(sample["__key__"]) for sample in read) == list(range(300))
    assert [int(sample["__key__"]) for sample in read] != list(range(300)), "the samples of training lie shuffled"
    for sample in read:
        number = int(sample["__key__"])
        assert numpy.array_equal(numpy.asarray(sample["png"].convert("L")), images[number, 0].numpy())
        assert sample["cls"] == targets[number]


def write_foreign(folder, names=("train", "val"), count=40, label=lambda number: {"cls": number % 3}):
    """Write tar files with webdataset, as others have them; return the bytes of the pictures by split and number."""
    import webdataset

    folder.mkdir(exist_ok=True)
    kept = {}
    for split in names:
        with webdataset.ShardWriter(str(folder / f"{split}-%06d.tar"), maxcount=9, verbose=0) as writer:
            for number in range(count):
                pixels = numpy.random.default_rng(number).integers(0, 80, (10 + number % 3, 12, 3), dtype=numpy.uint8)
                pixels[3 * (number % 3) : 3 * (number % 3) + 3] += 150
                data = BytesIO()
                Image.fromarray(pixels).save(data, "JPEG")
                kept[split, number] = data.getvalue()
                writer.write({"__key__": f"a/{number:04d}", "jpg": data.getvalue(), "txt": "seen", **label(number)})
    return kept


def test_tar_files_that_webdataset_wrote_are_trained_on_by_their_path(tmp_path, capsys, monkeypatch):
    kept = write_foreign(tmp_path / "foreign")
    (tmp_path / "foreign" / "classnames.txt").write_text("low\nmiddle\nhigh\n")
    splits = zoo.load_dataset(str(tmp_path / "foreign"), params={"size": 12})
    assert splits.class_names == ("low", "middle", "high")
    counts = {name: len(split) for name, split in splits.items()}
    assert counts == {"train": 31, "validation": 40, "test": 9}, "a share of each class is held back where no test is"
    validation = find_shards(splits.validation)
    assert [validation.read_bytes(number) for number in range(40)] == [kept["val", number] for number in range(40)]
    assert validation.targets.tolist() == [number % 3 for number in range(40)]
    assert validation.digest is None
    monkeypatch.setattr("zoo.data.sharded.list_samples", None)  # what was found is kept
    pattern = str(tmp_path / "foreign" / "{train,val}-{000000..000002}.tar")
    line = ["run", "--dataset", str(tmp_path / "foreign"), "--dataset-param", "size=12", "--epochs", "1"]
    assert main(line) == 0
    monkeypatch.undo()
    assert main(["show", pattern, "--counts"]) == 0
    told = capsys.readouterr().out
    assert "train: 1 batch of 32, inputs [21, 3, 224, 224]" in told and "all" in told
    again = zoo.data_shard(pattern, tmp_path / "own", size="20kB")
    assert sum(file.samples for file in again.splits["validation"]) == 27
    with tarfile.open(tmp_path / "own" / "validation-000000.tar") as tar:
        assert tar.extractfile("000000000.jpg").read() == kept["val", 0]


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (lambda number: {"json": {"label": ["cat", "dog"][number % 2]}}, ("cat", "dog")),
        (lambda number: {"json": {"cls": number % 2}}, ("class 0", "class 1")),
        (lambda number: {"cls": number % 2, "json": {"label": "other"}}, ("class 0", "class 1")),
        (lambda number: {}, "byte 1536: sample 'a/0000': it tells no class; its files are .jpg, .txt"),
        (lambda number: {"json": {"kind": 3}}, "its .json tells no class under label, cls, class, target"),
        (lambda number: {"cls": 1}, "class"),
        (lambda number: {"cls": number % 2, "png": numpy.zeros((2, 2, 3))}, "expected one picture, or one .npy, got 2"),
        (lambda number: {"json": {"label": "x" if number else 1}}, "some classes are numbers (1), others names ('x')"),
    ],
)
def test_the_class_is_in_cls_or_in_json(tmp_path, label, told):
    write_foreign(tmp_path / "some", ("train", "test"), 12, label)
    if isinstance(told, tuple):
        assert zoo.read_shards(tmp_path / "some").class_names == told
    elif told == "class":
        assert zoo.read_shards(tmp_path / "some").train.targets.tolist() == [1] * 12
    else:
        with pytest.raises(DataError) as caught:
            zoo.read_shards(tmp_path / "some")
        assert told in str(caught.value)


def test_a_folder_of_tar_files_that_is_no_data_set_is_told(tmp_path):
    write_foreign(tmp_path / "odd", ("train", "imagenet"), 6)
    with pytest.raises(DataError, match=r"'imagenet-000000.tar' lies beside files of splits"):
        zoo.read_shards(tmp_path / "odd")
    write_foreign(tmp_path / "lone", ("test",), 6)
    with pytest.raises(DataError, match=r"it has no training data\. It has: test"):
        zoo.read_shards(tmp_path / "lone")
    write_foreign(tmp_path / "plain", ("",), 12)
    assert {name: len(split) for name, split in zoo.read_shards(tmp_path / "plain").items()} == {"train": 9, "test": 3}
    for text in ("-{000000..000009}.tar", "-000009.tar"):
        with pytest.raises(DataError, match=r"-00000\d.tar': no such file"):
            zoo.read_shards(f"{tmp_path / 'plain'}/{text}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"it has no \.tar files and no shards\.json"):
        zoo.read_shards(tmp_path / "empty")


def test_a_foreign_tar_file_that_is_damaged_is_never_read_as_a_shorter_one(tmp_path):
    """Python's reader takes a damaged header for the end: half of the samples would be gone without a word."""
    write_foreign(tmp_path / "whole", ("train", "test"), 9)
    path = tmp_path / "whole" / "train-000000.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    end = members[-1].offset_data + 512
    for data, told in (
        (whole[: members[10].offset], f"byte {members[10].offset}: expected a header of a file, or the zeros"),
        (whole[: members[10].offset_data + 5], "and the tar file ends after"),
        (whole[: members[10].offset + 100], f"byte {members[10].offset}"),
        (whole[: members[10].offset] + b"x" * 512 + whole[members[10].offset + 512 :], f"byte {members[10].offset}"),
        (whole[:end], f"byte {end}: expected a header of a file, or the zeros"),
        (b"no tar file at all", "not a tar file"),
        (b"", "not a tar file"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            zoo.read_shards(tmp_path / "whole")
        assert "train-000000.tar'" in str(caught.value) and told in str(caught.value), told
    headers = [place for member in members for place in range(member.offset, member.offset + 512, 150)]
    for data in (
        *(whole[:cut] for cut in range(0, end + 512, 1000)),
        *(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :] for place in headers),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"train-000000\.tar'"):
            list(list_samples(path))
    path.write_bytes(whole[: end + 512])
    assert len(list(list_samples(path))) == 9


def make_tar(path, files, form=tarfile.USTAR_FORMAT, mode="w"):
    """Write a tar file of `(name, bytes)`; in the place of bytes may be a kind of member and what it leads to."""
    with tarfile.open(path, mode, format=form) as tar:
        for name, content in files:
            told = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                told.type, told.linkname = content
            else:
                told.size = len(content)
            tar.addfile(told, BytesIO(content) if isinstance(content, bytes) else None)


def change_size(path, size):
    """Let the second member of a tar file say that it has another size."""
    data = bytearray(path.read_bytes())
    data[1024 + 124 : 1024 + 136] = size.to_bytes(12, "big", signed=True)
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    path.write_bytes(data)


def test_every_form_of_a_tar_file_is_read_whole_or_refused(tmp_path):
    pixels = BytesIO()
    Image.new("RGB", (4, 4)).save(pixels, "PNG")
    files = [
        (f"{n}.{end}", data) for n in "abcd" for end, data in (("png", pixels.getvalue()), ("cls", b"%d" % ord(n)))
    ]
    path, deep = tmp_path / "train.tar", "folder.v1/" + "long" * 30 + "/"
    read = {
        "gnu": ([(deep + name, data) for name, data in files], tarfile.GNU_FORMAT),
        "pax": ([(deep + "\u00e9" + name, data) for name, data in files], tarfile.PAX_FORMAT),
        "folders": [("x", (tarfile.DIRTYPE, "")), *[(f"x/{name}", data) for name, data in files]],
        "hidden": [each for name, data in files for each in ((f"._{name}", b"junk"), (name, data))],
        "about": [("__meta__.json", b"{}"), ("README", b"all"), *files],
        "masks": [each for n, d in files for each in ([(n, d), (f"{n[0]}.mask.png", d)] if "png" in n else [(n, d)])],
        "more dots": [(name.replace("png", "left.png"), data) for name, data in files],
        "capitals": [(name.replace("png", "PNG"), data) for name, data in files],
    }
    for name, made in read.items():
        make_tar(path, *(made if isinstance(made, tuple) else (made,)))
        found = list(list_samples(path))
        assert [sample.label for sample in found] == [97, 98, 99, 100], name
        data = path.read_bytes()
        assert all(data[s.image.offset :][: s.image.size] == pixels.getvalue() for s in found), name
    refused = {
        "byte 4096: 'e.png' is a link": [*files[:4], ("e.png", (tarfile.LNKTYPE, "a.png")), ("e.cls", b"3")],
        "'e.png' is a link": [*files, ("e.png", (tarfile.SYMTYPE, "a.png"))],
        "sample 'a': it tells no class.*follow one another: let tar sort the names": [*files[::2], *files[1::2]],
        "got 4; its files are .a.png.*one name up to its first dot": [(f"x.{name}", data) for name, data in files],
        "two files are called 'a.png'": [files[0], *files],
        "its class is an empty text": [files[0], ("a.cls", b" ")],
    }
    for told, made in refused.items():
        make_tar(path, made)
        with pytest.raises(DataError, match=told):
            list(list_samples(path))
    for size in (-1, -512, -1024, -(2**60)):  # a reader that goes on by such a size comes back to where it was
        make_tar(path, files)
        change_size(path, size)
        with pytest.raises(DataError, match=rf"train.tar', byte 1024: 'a.cls' has {size} bytes"):
            list(list_samples(path))
    make_tar(path, files)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(DataError, match="byte 10240: it goes on after the zeros that end a tar file"):
        list(list_samples(path))
    make_tar(path, files, mode="w:gz")
    with pytest.raises(DataError, match="a compressed tar file"):
        list(list_samples(path))


def test_a_word_of_its_name_or_folder_tells_the_split_of_a_file(tmp_path):
    pictures = BytesIO()
    Image.new("L", (4, 4)).save(pictures, "PNG")
    files = [(f"{n}.{end}", data) for n in "ab" for end, data in (("png", pictures.getvalue()), ("cls", n.encode()))]

    def read(path, *names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            make_tar(tmp_path / name, files)
        return {name: len(split) for name, split in zoo.read_shards(f"{tmp_path}/{path}").items()}

    two = {"train": 4, "validation": 2, "test": 2}
    assert read("a", "a/net1k-train-0.tar", "a/net1k-train-1.tar", "a/net1k-val-00.tar", "a/net1k_test.tar") == two
    assert read("b", *(f"b/{name}-of-2.tar" for name in ("Train-0", "Train-1", "valid-0", "test-0"))) == two
    assert read("c", "c/train2017/0.tar", "c/train2017/1.tar", "c/val/0.tar", "c/testing/latest.tar") == two
    assert read("a/*train*.tar") == {"train": 2, "test": 2}, "half of each class is held back"
    assert read("a/net1k{-train-{0,1},_test}.tar".replace("{0,1}", "?")) == {"train": 4, "test": 2}
    for pattern, told in (
        ("a/{net1k,net{0..2}k}-train-0.tar", "its braces do not go together. Give none within others"),
        ("a/{3..1}.tar", "'{3..1}' stands for no files: expected 1 to 1,000,000"),
        ("a/{0..99999999}.tar", "'{0..99999999}' stands for 100,000,000 files"),
        ("a/{0..9999}-{0..9999}.tar", "stands for 100,000,000 files"),
        ("a/none-*.tar", "no file has such a name"),
    ):
        with pytest.raises(zoo.ZooError, match=re.escape(told)):
            read(pattern)
    (tmp_path / "a" / "classnames.txt").write_text("c\nb\na\n")
    splits = zoo.read_shards(tmp_path / "a")
    assert splits.class_names == ("c", "b", "a") and splits.test.targets.tolist() == [2, 1]
    (tmp_path / "a" / "classnames.txt").write_text("c\nb\n")
    with pytest.raises(DataError, match=r"classnames.txt': it lacks 1 of 2 classes, 'a' for one"):
        zoo.read_shards(tmp_path / "a")
    with pytest.raises(DataError, match="its name tells of test and train"):
        read("d", "d/train-test-0.tar")


def test_damage_is_told_with_the_number_of_the_shard_and_the_byte(shards, tmp_path, capsys):
    copied = shutil.copytree(shards, tmp_path / "damaged")
    split = zoo.read_shards(copied).train
    place = int(numpy.flatnonzero(split.rows[:, 0] == 4)[2])
    offset, path = int(split.rows[place, OFFSET]), copied / "train-000004.tar"
    data = bytearray(path.read_bytes())
    data[offset + 30] ^= 1
    path.write_bytes(data)
    told = f"shard 4 ('{path}'), byte {offset}: damaged: its checksum is another one"
    with pytest.raises(DataError) as caught:
        split[place]
    assert told in str(caught.value)
    assert main(["run", "--dataset", str(copied), "--epochs", "1"]) == 3
    assert f"sample {place}: DataError: {told}" in capsys.readouterr().err
    assert main(["data", "verify", str(copied)]) == 3
    assert f"'{path}', shard 4 of train: expected SHA-256" in capsys.readouterr().err
    path.write_bytes(data[:-600])
    with pytest.raises(DataError, match=r"shard 4 \(.*\): expected [\d,]+ bytes, got"):
        zoo.read_shards(copied).train[place]
    path.unlink()
    with pytest.raises(DataError, match=r"shard 4 \(.*train-000004.tar'\): cannot be read: No such file"):
        zoo.read_shards(copied).train[place]
    assert main(["data", "verify", str(copied)]) == 3
    assert "shard 4 of train: it is missing" in capsys.readouterr().err
    for name in ("train-000004.tar", "train.index.npy"):  # neither is waited for
        (copied / name).unlink(missing_ok=True)
        os.mkfifo(copied / name)
        with pytest.raises(DataError, match=r"cannot be read: it is a pipe, not a regular file"):
            zoo.read_shards(copied).train[place]
    assert main(["data", "verify", str(shards), "--json"]) == 0
    (state,) = json.loads(capsys.readouterr().out)["datasets"]
    assert state["verified"] and len(state["files"]) == 14 + 3 + 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda told: "{", "it is no JSON"),
        (lambda told: told | {"format": 2}, "it has format 2, and this zoo reads 1. Update zoo"),
        (lambda told: {"format": 1}, "it is no manifest of shards: 'class_names' is missing"),
        (lambda told: told | {"channels": 2}, "channels: expected 1 or 3, got 2"),
        (lambda told: told | {"preprocess": {"resize": -1}}, "resize: expected"),
        (lambda told: told | {"splits": {"train": told["splits"]["train"]}}, "splits: expected train and test"),
        (lambda told: told | {"class_names": ["one", "two"]}, "it tells of shards or classes that there are not"),
        ("../train-000000.tar", "file: expected a relative path of plain names"),
        ("/etc/passwd", "file: expected a relative path of plain names"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused_in_words(shards, tmp_path, change, told):
    copied = shutil.copytree(shards, tmp_path / "changed")
    known = json.loads((copied / "shards.json").read_text())
    if isinstance(change, str):
        known["splits"]["train"]["shards"][0]["file"] = change
        changed = known
    else:
        changed = change(known)
    (copied / "shards.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(DataError) as caught:
        zoo.read_shards(copied)
    assert told in str(caught.value) and str(copied) in str(caught.value)


@pytest.mark.slow
def test_pictures_are_kept_as_they_are_and_evaluated_to_the_same_bits(tmp_path):
    photos = tmp_path / "photos"
    make_folder(photos)
    written = zoo.data_shard(str(photos), tmp_path / "shards", dataset_params={"size": 16})
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as tar:
        inside = {tar.extractfile(name).read() for name in tar.getnames() if not name.endswith(".cls")}
    files = [path.read_bytes() for path in photos.rglob("*") if path.is_file()]
    assert inside <= set(files) and len(inside) == sum(file.samples for file in written.splits["train"])
    runs = [
        zoo.run("baseline", str(path), dataset_params=params, epochs=2, runs_dir=tmp_path / "runs", threads=1)
        for path, params in ((photos, {"size": 16}), (tmp_path / "shards", None))
    ]
    assert runs[0].metrics == runs[1].metrics
    smaller = zoo.load_dataset(str(tmp_path / "shards"), params={"size": 8, "channels": 1})
    assert smaller.preprocess.crop == (8, 8) and smaller.train[0][0].shape[0] == 1


def register(splits):
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="own", factory=lambda *, root: splits), plugin="own")
    return registry


class Stream(IterableDataset):
    def __init__(self, samples, gives):
        self.samples, self.gives = samples, gives

    def __len__(self):
        return self.samples

    def __iter__(self):
        return ((torch.full((2, 3), number, dtype=torch.float64), number % 2) for number in range(self.gives))


def test_other_images_become_arrays_and_streams_are_counted(tmp_path):
    generator = torch.Generator().manual_seed(0)
    forms = {
        "float": torch.rand(12, 2, 3, generator=generator),
        "sixteen": torch.randint(60000, (12, 1, 5, 5), generator=generator).to(torch.uint16),
        "four": torch.randint(255, (12, 4, 5, 5), generator=generator, dtype=torch.uint8),
    }
    for name, images in forms.items():
        pair = (images, torch.arange(12) % 2)
        preprocess = Preprocess(scale=2.0)
        splits = zoo.DataSplits(train=pair, test=pair, class_names=("a", "b"), preprocess=preprocess)
        zoo.data_shard("own", tmp_path / name, registry=register(splits))
        read = zoo.read_shards(tmp_path / name)
        assert torch.equal(read_all(read.train)[0], images) and read.train[0][0].dtype == images.dtype
        assert read.preprocess == preprocess and read.class_names == ("a", "b")
    splits = zoo.DataSplits(train=Stream(9, 9), test=Stream(4, 4), class_names=("a", "b"))
    zoo.data_shard("own", tmp_path / "stream", registry=register(splits))
    read = zoo.read_shards(tmp_path / "stream").train
    assert [int(image[0, 0]) for image, _ in (read[index] for index in range(9))] == list(range(9))
    assert read.rows[:, OFFSET].tolist() == sorted(read.rows[:, OFFSET].tolist()), "a stream is written as it comes"
    for gives, told in ((8, "a stream gave 8 samples"), (30, "it gave 10 or more samples")):
        splits = zoo.DataSplits(train=Stream(9, gives), test=Stream(4, 4), class_names=("a", "b"))
        with pytest.raises(DataError, match=f"{told}: its length says 9"):
            zoo.data_shard("own", tmp_path / "wrong", registry=register(splits))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float", "four", "sixteen", "stream"]


def test_a_writer_that_was_stopped_goes_on_behind_the_tar_files_that_are_whole(tmp_path, monkeypatch, caplog):
    told = {"size": SIZE, "dataset_params": PARAMS}
    whole, again, part = tmp_path / "whole", tmp_path / "again", tmp_path / ".again.part"
    zoo.data_shard("shapes", whole, **told)
    encode, count = shard_writing.encode, 0
    caplog.set_level("INFO")

    def stop_at(number, error=KeyboardInterrupt, given=told):
        nonlocal count
        count = 0

        def encode_some(image):
            nonlocal count
            count += 1
            if count > number:
                raise error
            return encode(image)

        caplog.clear()
        with monkeypatch.context() as patched, pytest.raises(error) if number < 999 else nullcontext():
            patched.setattr(shard_writing, "encode", encode_some)
            zoo.data_shard("shapes", again, **given)
        return caplog.text

    measured = shard_writing.MEASURED + 60  # samples that are read to learn how much room they take
    assert "tar files stay" not in stop_at(measured + 3) and not part.exists(), "nothing was whole"
    assert f"3 whole tar files stay in {part}: the same command goes on" in stop_at(measured + 70)
    with pytest.raises(UsageError, match=r"were begun with something else: size was 60000, is 90000; seed was 0, is 1"):
        zoo.data_shard("shapes", again, **{**told, "size": "90kB", "seed": 1})
    assert "going on behind 3 whole" in stop_at(measured + 100, MemoryError) and not again.exists()
    files = sorted(path.name for path in part.glob("*.tar"))
    assert "going on behind" in caplog.text and len(files) > 6
    # One that is damaged is written again, and so is what comes after it; so is one that was not finished.
    changed = bytearray((part / files[4]).read_bytes())
    rows = zoo.read_shards(whole).train.rows
    changed[sorted(rows[rows[:, 0] == 4, OFFSET])[1] + 30] ^= 1
    (part / files[4]).write_bytes(changed)
    (part / "train-000099.tar").write_bytes(b"half")
    with (part / "journal.jsonl").open("a") as journal:
        journal.write('{"file": "train-0000')
    assert "going on behind 4 whole tar files" in stop_at(10**6)
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert all((whole / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "whole"]


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_looks_whole_and_goes_on(tmp_path, caplog):
    words = ["data", "shard", "shapes", "--size", "60kB", "--dataset-param", "train_size=1000", "--output"]
    output = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-m", "zoo", *words, str(output)], stderr=subprocess.PIPE) as writer:
        for line in writer.stderr:
            if line.startswith(b"train-000003.tar"):
                writer.kill()
    assert writer.returncode == -signal.SIGKILL and not output.exists()
    with pytest.raises(DataError, match="no such"):
        zoo.read_shards(output)
    caplog.set_level("INFO")
    zoo.data_shard("shapes", output, size=60_000, dataset_params={"train_size": 1000})
    assert re.search(r"going on behind ([4-9]|[1-3]\d) whole tar files", caplog.text)
    assert main([*words, str(tmp_path / "whole")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
    assert all(path.read_bytes() == (output / path.name).read_bytes() for path in (tmp_path / "whole").iterdir())


def test_what_was_written_of_other_data_is_not_gone_on_from(tmp_path, caplog):
    class Own(Dataset):
        def __init__(self, value, reads):
            self.value, self.reads = value, reads

        def __len__(self):
            return 40

        def __getitem__(self, index):
            self.reads -= 1
            if self.reads < 0:
                raise OSError("the disk is gone")
            return torch.full((1, 30, 30), self.value + index, dtype=torch.int16), index % 2

    train = torch.zeros(4, 1, 30, 30), torch.arange(4) % 2
    for name, values in (("same", (5, 5)), ("changed", (5, 6))):
        for value, reads in zip(values, (40 + 30, 999), strict=True):  # 40 to learn how much room all of them take
            splits = zoo.DataSplits(train=train, test=Own(value, reads), class_names=("a", "b"))
            with pytest.raises(DataError, match="the disk is gone") if reads == 70 else nullcontext():
                zoo.data_shard("own", tmp_path / name, size="20kB", registry=register(splits))
        read = zoo.read_shards(tmp_path / name).test
        assert [int(read[index][0][0, 0, 0]) for index in range(40)] == [values[1] + index for index in range(40)]
    assert caplog.text.count("whole tar files stay in") == 2

    with lock(tmp_path / ".held.lock", timeout=0), pytest.raises(zoo.ZooError, match="another process writes shards"):
        zoo.data_shard("own", tmp_path / "held", registry=register(splits))
    splits = zoo.DataSplits(train=Stream(9, 9), test=Stream(400, 380), class_names=("a", "b"))
    for gives in (380, 400):
        splits.test.gives = gives
        with pytest.raises(DataError, match="gave 380 samples") if gives == 380 else nullcontext():
            zoo.data_shard("own", tmp_path / "stream", size="20kB", registry=register(splits))
    assert "nothing that is written can be gone on from" in caplog.text
    assert len(zoo.read_shards(tmp_path / "stream").test) == 400


def test_shards_appear_whole_or_not_at_all_and_only_where_there_is_room(tmp_path, monkeypatch, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    line = ["data", "shard", "shapes", "--dataset-param", "train_size=50", "--dataset-param", "test_size=20"]
    assert main([*line, "--output", str(tmp_path / "full")]) == 2
    assert f"shards cannot be written to {tmp_path / 'full'}: it has files" in capsys.readouterr().err
    for place, code in (("mine.txt", 2), ("mine.txt/new", 7)):
        assert main([*line, "--output", str(tmp_path / "full" / place)]) == code
    assert "cannot write to" in capsys.readouterr().err
    for place, told in (("full/mine.txt", "expected a folder of shards"), ("none", "no such folder")):
        assert main(["data", "verify", f"{tmp_path}/{place}"]) == 3
        assert told in capsys.readouterr().err
    assert main([*line, "--output", str(tmp_path / "new"), "--size", "256 apples"]) == 2
    assert "size: must be a size such as 256MB or 1GB" in capsys.readouterr().err

    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000))
        assert main([*line, "--output", str(tmp_path / "new")]) == 7
    assert "MB to write, 0.1 MB free" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

    with monkeypatch.context() as patched:
        patched.setattr("zoo.data.shard_writing.encode", lambda image: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            zoo.data_shard("shapes", tmp_path / "new", dataset_params=PARAMS)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]

    assert main(["data", "verify", str(tmp_path / "full")]) == 3
    assert "it has no shards.json, which says what its files must be" in capsys.readouterr().err
    (tmp_path / "new").mkdir()  # an empty folder is as good as none
    assert main([*line, "--output", str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path / "new") and [file["samples"] for file in told["splits"]["train"]] == [50]
    assert main([*line, "--output", str(tmp_path / "new"), "--json"]) == 2


def test_shards_are_looked_at_as_any_data_set_is(shards, tmp_path, capsys):
    for line, told in (
        (["show", str(shards), "--counts"], "train: 10 batches of 32, inputs [32, 1, 28, 28]"),
        (["samples", str(shards), "--index", "7"], "1x28x28"),
        (["check", "--model", "baseline", "--dataset", str(shards)], "training samples of 1x28x28"),
        (["run", "--dataset", str(shards), "--dry-run"], "256 training samples of 1x28x28"),
    ):
        assert main(line) == 0, line
        assert told in capsys.readouterr().out
    estimates = zoo.check("baseline", str(shards)).estimates  # an epoch of few batches is timed as a whole
    assert estimates["epoch_seconds"] == pytest.approx(10 * estimates["step_seconds"])
    assert estimates["evaluation_seconds"] > 0
    registry = zoo.Registry.discover()
    entry = registry.get("dataset", "image-shards")
    assert entry.spec.path_marks == ("shards.json", "*.tar")
    with pytest.raises(UsageError, match="shards need the path of their folder"):
        zoo.load_dataset("image-shards")
