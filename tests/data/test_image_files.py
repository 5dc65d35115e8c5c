"""Picture files as a Dataset: what each format becomes, what is left out, and how the decoded pictures are kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
from pathlib import Path

import numpy
import pytest
import torch
from pictures import draw, make_folder
from PIL import Image
from torch import Tensor

import zoo
from zoo import limits
from zoo.cli.main import main
from zoo.data import shared
from zoo.data.decoding import MANY
from zoo.data.fitted import fit_splits
from zoo.data.images import read_image
from zoo.data.survey import survey

PREPROCESS = zoo.Preprocess(resize=16, crop=(12, 12), rounded=True)
SHAPE = (3, 30, 40)


def make_splits(folder: Path, **settings) -> zoo.DataSplits:
    """Return the pictures of a folder as a data set: of each class the first three files are the test split."""
    files = zoo.ImageFiles.find(folder)
    names = sorted({file.parent.name for file in files})
    parts = {"train": [], "test": []}
    for file in files:
        parts["test" if file.stem in ("000", "001", "002") else "train"].append(file)
    made = {
        name: zoo.ImageFiles(part, [names.index(file.parent.name) for file in part], **settings)
        for name, part in parts.items()
    }
    return zoo.DataSplits(**made, class_names=names, preprocess=PREPROCESS)


def keep(folder: Path, preprocess: zoo.Preprocess = PREPROCESS, **settings) -> zoo.DataSplits:
    """Return the splits as a run has them."""
    tried = survey("mine", make_splits(folder, **settings), preprocess, SHAPE)
    return fit_splits(tried, preprocess, SHAPE)[0]


def read_by_hand(folder: Path, preprocess: zoo.Preprocess = PREPROCESS, split: str = "train") -> Tensor:
    """Return the pictures of a split, each read and resized by itself."""
    files = getattr(make_splits(folder), split).files
    return torch.cat([preprocess.fit(read_image(file).unsqueeze(0)) for file in files])


def find_rows() -> list[Path]:
    return sorted(Path(os.environ["ZOO_HOME"], "pictures").glob("*/*.rows"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_folder(tmp_path / "photos")
    return tmp_path / "photos"


def test_one_number_of_channels_and_eight_bits(tmp_path):
    grey = numpy.arange(12, dtype=numpy.uint8).reshape(3, 4) * 20
    wide = numpy.array([[0, 128, 129, 257], [65535, 65534, 65406, 65407], [300, 500, 700, 900]], dtype=numpy.uint16)
    color = numpy.dstack([grey, grey + 5, grey + 10])
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(color).save(tmp_path / "color.png")
    Image.fromarray(numpy.dstack([color, grey // 240 * 255])).save(tmp_path / "clear.png")
    Image.fromarray(color).convert("P").save(tmp_path / "palette.gif")
    Image.fromarray(color).convert("CMYK").save(tmp_path / "inks.tif")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(color).save(tmp_path / "turned.png", exif=turned)
    names = ("grey.png", "wide.png", "color.png", "clear.png", "palette.gif", "inks.tif", "turned.png")
    files = [tmp_path / name for name in names]
    three, one = (zoo.ImageFiles(files, range(7), channels=channels) for channels in (3, 1))
    for index in range(7):
        image, target = three[index]
        shape = (4, 3) if names[index] == "turned.png" else (3, 4)
        assert (tuple(image.shape), image.dtype, target) == ((3, *shape), torch.uint8, index)
        assert (tuple(one[index][0].shape), one[index][0].dtype) == ((1, *shape), torch.uint8)
    assert torch.equal(three[0][0], torch.from_numpy(grey).expand(3, 3, 4))
    assert three[1][0][0].tolist() == [[0, 0, 1, 1], [255, 255, 254, 255], [1, 2, 3, 4]]
    assert torch.equal(three[2][0], torch.from_numpy(color).permute(2, 0, 1))
    luma = (color @ numpy.array([0.299, 0.587, 0.114])).round().astype(numpy.uint8)
    assert torch.equal(one[2][0][0], torch.from_numpy(luma))
    assert torch.equal(three[6][0], torch.from_numpy(numpy.rot90(color, -1).copy()).permute(2, 0, 1))
    assert int(three[3][0].min()) == 255  # nothing of it but white can be seen


JPEGS = [
    (mode, subsampling, progressive, size)
    for mode in ("RGB", "L")
    for subsampling in (0, 1, 2)
    for progressive in (False, True)
    for size in ((64, 48), (37, 23), (1, 1))
]


def test_many_jpegs_have_the_bits_of_one(tmp_path):
    """Many are decoded by another decoder: to the same bits, with the same refusals."""
    from sklearn.datasets import load_sample_images  # the processes of other tests do without

    photograph = Image.fromarray(load_sample_images().images[0])
    files = []
    for number in range(MANY + 20):
        mode, subsampling, progressive, size = JPEGS[number % len(JPEGS)]
        left = number % 300
        picture = photograph.crop((left, left, left + size[0], left + size[1])).convert(mode)
        files.append(tmp_path / f"{number:03}.jpg")
        turned = Image.Exif()
        turned[0x0112] = 6 if number % 50 == 17 else 1
        more = {3: {"comment": b"of a cat"}, 4: {"restart_marker_rows": 1}, 5: {"icc_profile": bytes(99)}}
        extra = {"exif": turned} if number % 25 == 17 else more.get(number % 25, {})
        picture.save(files[-1], quality=60 + number % 40, subsampling=subsampling, progressive=progressive, **extra)
    for number, cut in ((36 * 2, 2), (36 * 3, 400), (36 * 4, 900)):
        files[number].write_bytes(files[number].read_bytes()[:-cut])
    splits = zoo.DataSplits(
        train=zoo.ImageFiles(files, [0] * len(files)), test=zoo.ImageFiles(files[:2], [0, 1]), class_names="ab"
    )
    tried = survey("mine", splits, PREPROCESS, SHAPE)
    images, _ = fit_splits(tried, PREPROCESS, SHAPE)[0].train
    read = []
    for file in files:
        with contextlib.suppress(zoo.DataError):
            image = read_image(file)
            read.append(PREPROCESS.fit(image.expand(3, -1, -1).unsqueeze(0)))
    assert len(files) - 3 <= len(read) < len(files)
    assert torch.equal(images, torch.cat(read))


def test_it_is_a_dataset_like_any_other(photos):
    with contextlib.chdir(photos):
        files = zoo.ImageFiles(["cat/000.png", Path("dog/001.png")], [0, 1])
    again = pickle.loads(pickle.dumps(files))
    assert len(again) == 2 and torch.equal(again[1][0], files[1][0])
    assert again.targets == (0, 1) and repr(again) == "ImageFiles(2 pictures, channels=3)"
    assert [image.shape[1:] for image, _ in torch.utils.data.DataLoader(files, batch_size=None, num_workers=2)] == [
        (30, 40),
        (40, 30),
    ]
    (photos / "cat" / "000.png").write_bytes(b"hello")
    with pytest.raises(zoo.DataError, match=r"photos/cat/000.png': not an image"):
        files[0]
    (photos / "cat" / "000.png").unlink()
    with pytest.raises(zoo.DataError, match=r"photos/cat/000.png': cannot be read: No such file"):
        files[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"targets": [0]}, "targets: expected one for each of 2 files, got 1"),
        ({"channels": 4}, "channels: expected 1 or 3, got 4"),
        ({"budget": -1}, "budget: expected gigabytes"),
    ],
)
def test_what_its_constructor_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        zoo.ImageFiles(**{"files": ["a", "b"], "targets": [0, 1], **arguments})


@pytest.mark.parametrize(
    "preprocess", [PREPROCESS, zoo.Preprocess(resize=(9, 11), interpolation="bicubic", rounded=True)]
)
def test_kept_pictures_have_the_bits_of_those_read_by_hand(photos, preprocess):
    splits = keep(photos, preprocess)
    for split in ("train", "test"):
        images, targets = getattr(splits, split)
        assert torch.equal(images, read_by_hand(photos, preprocess, split))
        assert targets.tolist() == list(getattr(make_splits(photos), split).targets)
    kept = find_rows()
    assert len(kept) == 1 and kept[0].stat().st_size == 40 * splits.train[0][0].numel()
    before = kept[0].stat()
    images = keep(photos, preprocess).train[0]
    images[:] = 0  # does not get into the file
    assert torch.equal(keep(photos, preprocess).train[0], read_by_hand(photos, preprocess))
    assert [path.stat() for path in find_rows()] == [before]
    assert not list(kept[0].parent.glob(".*"))


def change(folder: Path, how: str) -> None:
    files = sorted(folder.rglob("*.png"))
    match how:
        case "changed":
            draw(files[7], (1, 2, 3))
        case "touched":
            os.utime(files[7], (1, 1))
        case "added":
            draw(folder / "cat" / "zzz.png", (9, 9, 9))
        case "removed":
            files[7].unlink()
        case "renamed":
            files[7].rename(files[7].with_name("zzz.png"))
        case "swapped":
            first, second = files[7].read_bytes(), files[17].read_bytes()
            files[7].write_bytes(second)
            files[17].write_bytes(first)


@pytest.mark.parametrize("how", ["changed", "touched", "added", "removed", "renamed", "swapped"])
def test_changes_of_the_files_are_noticed(photos, how):
    before = keep(photos).train[0].clone()
    change(photos, how)
    after = keep(photos).train[0]
    assert torch.equal(after, read_by_hand(photos))
    assert (how == "touched") == (before.shape == after.shape and torch.equal(before, after))


def damage(how: str) -> None:
    rows = find_rows()[0]
    index, files = rows.with_suffix(".json"), rows.parent / "files.json"
    match how:
        case "rows cut":
            os.truncate(rows, rows.stat().st_size - 1)
        case "rows longer":
            os.truncate(rows, rows.stat().st_size + 1)
        case "rows gone":
            rows.unlink()
        case "one bit":
            content = bytearray(rows.read_bytes())
            content[len(content) // 2] ^= 1
            rows.write_bytes(content)
        case "zeros":
            rows.write_bytes(bytes(rows.stat().st_size))
        case "index cut":
            index.write_bytes(index.read_bytes()[:-7])
        case "index of another":
            index.write_text(json.dumps({**json.loads(index.read_text()), "shape": [3, 8, 32]}))
        case "index nonsense":
            index.write_text('{"files": [1, 2], "checksums": "ab"}')
        case "files nonsense":
            files.write_text('{"version": 1, "files": 7}')
        case "files too large":
            os.truncate(files, limits.MAX_PICTURE_INDEX + 1)
        case "index too large":
            os.truncate(index, limits.MAX_PICTURE_INDEX + 1)
        case "files cut":
            files.write_bytes(files.read_bytes()[:99])
        case "a folder in its place":
            index.unlink()
            index.mkdir()


DAMAGES = [
    "rows cut",
    "rows longer",
    "rows gone",
    "one bit",
    "zeros",
    "index cut",
    "index of another",
    "index nonsense",
]


@pytest.mark.parametrize("how", [*DAMAGES, "files nonsense", "files cut", "files too large", "index too large"])
def test_a_damaged_cache_is_made_anew(photos, how):
    keep(photos)
    damage(how)
    assert torch.equal(keep(photos).train[0], read_by_hand(photos))
    before = find_rows()[0].stat()
    assert torch.equal(keep(photos).train[0], read_by_hand(photos))
    assert [path.stat() for path in find_rows()] == [before]


def test_a_cache_that_cannot_be_written_is_done_without(photos, caplog):
    keep(photos)
    damage("a folder in its place")
    splits = keep(photos)
    assert not isinstance(splits.train, tuple) and torch.equal(splits.train[5][0], read_by_hand(photos)[5])
    assert "pictures are decoded in each epoch: they cannot be kept" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cache": False}, "pictures are decoded in each epoch: cache=False"),
        ({"budget": 0.00001}, "kept decoded they would take 0.0 GB, more than the budget of 1e-05 GB"),
    ],
)
def test_pictures_may_be_decoded_in_each_epoch(photos, caplog, settings, words):
    with caplog.at_level(logging.INFO, "zoo"):
        splits = keep(photos, **settings)
    assert words in caplog.text and not find_rows()
    assert torch.equal(torch.stack([splits.train[index][0] for index in range(28)]), read_by_hand(photos))


def test_what_was_used_longest_ago_makes_room(photos, tmp_path):
    budget = 40 * 3 * 16 * 16 * 2.5 / 1e9  # two and a half of them
    others = [tmp_path / f"other{number}" for number in range(2)]
    for other in others:
        shutil.copytree(photos, other)
    keep(photos, budget=budget)
    first = find_rows()[0]
    keep(others[0], budget=budget)
    second = next(path for path in find_rows() if path != first)
    os.utime(second.with_suffix(".json"), (1, 1))
    keep(photos, budget=budget)
    keep(others[1], budget=budget)
    assert first in find_rows() and second not in find_rows() and len(find_rows()) == 2


def test_a_part_that_is_held_back_may_stay_on_the_disk(photos, monkeypatch):
    def train() -> str:
        result = zoo.run("baseline", str(photos), validation=0.3, epochs=1, input_size=(8, 8))
        return zoo.load(result.weights).weights.digests["tensors"]

    expected = train()
    monkeypatch.setattr("zoo.data.mapped.SMALL", 0)
    assert train() == expected
    assert {path.suffix for path in find_rows()[0].parent.parent.rglob("*.*")} == {".json", ".rows"}


FULL = """
import resource, sys
sys.dont_write_bytecode = True  # it would be cut off, too
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


def test_a_full_disk_is_done_without(photos, warm_python):
    process = start(photos, warm_python, FULL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.strip() == hashlib.sha256(read_by_hand(photos).numpy().tobytes()).hexdigest()
    assert "pictures are decoded in each epoch: they cannot be kept: OSError" in err and not find_rows()


def test_only_new_pictures_are_decoded(photos, monkeypatch):
    keep(photos)
    # Reading any of the old ones again would fail: nothing of them is left but size and time.
    for file in sorted(photos.rglob("*.png")):
        found = file.stat()
        file.write_bytes(bytes(found.st_size))
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    draw(photos / "cat" / "new.png", (7, 7, 7))
    images, targets = keep(photos).train
    assert len(images) == 29 and int(images[7].max()) < 50 and targets[7] == 0


KILLED = """
import os, signal
from zoo.data.decoding import _Decoder
main, write = os.getpid(), _Decoder._write
def write_some(rows, places, images):
    write(rows, places[:5], images[:5])
    os.kill(main, signal.SIGKILL)
    signal.pause()  # a worker: it ends with the process that it works for
_Decoder._write = staticmethod(write_some)
"""
KEEP = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import hashlib, torch, test_image_files
split = test_image_files.keep(Path({folder!r})).train
images = split[0] if isinstance(split, tuple) else torch.stack([split[place][0] for place in range(len(split))])
print(hashlib.sha256(images.numpy().tobytes()).hexdigest(), flush=True)
"""


def start(folder: Path, python: str, before: str = "") -> subprocess.Popen[str]:
    """Start a process that prints the digest of the training pictures, and does something before."""
    tests = Path(__file__).parent
    program = before + KEEP.format(paths=[str(tests), str(tests.parent)], folder=str(folder))
    return subprocess.Popen([python, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_eight_processes_at_once(photos, warm_python):
    for number in range(200):
        draw(photos / "fox" / f"more{number}.png", seed=number)
    processes = [start(photos, warm_python) for _ in range(8)]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert len({out for out, _ in outputs}) == 1
    assert torch.equal(keep(photos).train[0], read_by_hand(photos))
    assert len(find_rows()) == 1 and not list(find_rows()[0].parent.glob(".*.part"))


@pytest.mark.slow
def test_killed_while_it_writes(photos, warm_python):
    for number in range(60):
        draw(photos / "fox" / f"more{number}.png", seed=number)
    process = start(photos, warm_python, KILLED)
    _, err = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, err
    assert len(list(Path(os.environ["ZOO_HOME"], "pictures").glob("*/.rows.*.part"))) == 1 and not find_rows()
    assert torch.equal(keep(photos).train[0], read_by_hand(photos))
    assert len(find_rows()) == 1


def spoil(file: Path, how: str = "text") -> None:
    file.write_bytes({"text": b"hello", "nothing": b"", "half": file.read_bytes()[: file.stat().st_size // 2]}[how])


@pytest.mark.parametrize("door", ["kept", "each epoch", "looked at"])
def test_unreadable_files_are_left_out_and_named(photos, caplog, door):
    make_folder(photos, 20)
    spoil(photos / "cat" / "000.png", "half")  # the very first
    spoil(photos / "dog" / "011.png", "nothing")
    spoil(photos / "owl" / "019.png")
    expected = [file for file in make_splits(photos).train.files if file[-11:] not in ("dog/011.png", "owl/019.png")]
    splits = {
        "kept": lambda: keep(photos),
        "each epoch": lambda: keep(photos, cache=False),
        "looked at": lambda: survey("mine", make_splits(photos)),
    }[door]()
    told = "dataset 'mine': left out 3 of 80 pictures that cannot be used: '"
    assert told in caplog.text
    for name in ("cat/000.png' (a damaged image", "dog/011.png' (not an image)", "owl/019.png' (not an image)"):
        assert name in caplog.text
    if door == "kept":
        assert torch.equal(splits.train[0], torch.cat([PREPROCESS.fit(read_image(file)[None]) for file in expected]))
        assert len(splits.test[0]) == 11
    else:
        inner = splits.train.dataset if door == "each epoch" else splits.train
        assert list(inner.files) == expected and len(splits.test) == 11
    caplog.clear()
    survey("mine", make_splits(photos))
    assert told in caplog.text  # also from what is kept


@pytest.mark.parametrize(("strict", "bad", "code"), [(False, 2, 0), (False, 3, 3), (True, 1, 3), (True, 0, 0)])
def test_when_unreadable_files_are_an_error(own_folder, capsys, strict, bad, code):
    files = make_folder(own_folder / "photos", 10)
    for file in files[:bad]:
        spoil(file)
    line = [
        "run",
        "--dataset",
        "./photos",
        "--dataset-param",
        f"strict={strict}",
        "--input-size",
        "8x8",
        "--epochs",
        "1",
    ]
    assert main(line) == code
    told = capsys.readouterr().err
    if code:
        more = ", more than one in twenty" if not strict else ""
        assert f"{bad} of 40 pictures cannot be used{more}: '{own_folder}/photos/cat/000.png' (not an image)" in told
        assert main(["samples", "./photos", "--dataset-param", f"strict={strict}"]) == code


def test_huge_pictures_and_pictures_that_cannot_be_resized(photos, caplog):
    Image.new("1", (10_000, 10_000)).save(photos / "cat" / "huge.png")
    assert len(keep(photos).train[0]) == 28
    assert "huge.png' (an image of 10000 x 10000 pixels, at most 50000000 are read)" in caplog.text
    Image.new("L", (1, 30_000)).save(photos / "cat" / "tall.png")
    with pytest.raises(zoo.DataError, match=r"tall\.png': an image of 1 x 30000 pixels cannot become"):
        keep(photos, zoo.Preprocess(resize=2000, crop=(12, 12), rounded=True))


def test_a_class_without_readable_pictures_is_told(photos, caplog):
    make_folder(photos, 30)
    shutil.rmtree(photos / "owl")
    spoil(draw(photos / "owl" / "a.png"))
    draw(photos / "owl" / "000.png")
    keep(photos)
    assert "dataset 'mine', train split: class 'owl' has no samples" in caplog.text


def test_the_digest_of_the_data(own_folder, capsys):
    """It is that of the files and classes: the same kept or not, for all models, and by any names."""
    make_folder(own_folder / "photos", 10)

    def train(*options: str) -> tuple[str, str]:
        line = ["run", "--dataset", "./photos", "--epochs", "1", "--validation", "0.2", "--json", *options]
        assert main(line) == 0
        run = Path(json.loads(capsys.readouterr().out)["run"])
        weights = zoo.load(run).weights
        return json.loads((run / "run.json").read_text())["dataset"]["digest"], weights.digests["tensors"]

    small = ["--input-size", "8x8"]
    digest, weights = train(*small)
    assert train(*small, "--dataset-param", "cache=false") == (digest, weights)
    assert train("--input-size", "9x9")[0] == digest
    draw(own_folder / "photos" / "cat" / "003.png", (1, 1, 1))
    assert train(*small)[0] != digest


def test_copies_in_two_splits_are_told(own_folder, capsys):
    for split, each in (("train", 10), ("test", 6)):
        make_folder(own_folder / "photos" / split, each)
    for number in (4, 5):
        for name in ("cat", "dog", "fox", "owl"):
            draw(own_folder / "photos" / "test" / name / f"00{number}.png", (5 * number, 90, 90), seed=hash(name) % 99)
    for params in ([], ["--dataset-param", "cache=false"]):
        assert main(["run", "--dataset", "./photos", "--input-size", "8x8", "--epochs", "1", *params]) == 0
        assert "16 of 24 test images are also training images" in capsys.readouterr().err


def test_workers_change_nothing_and_are_as_many_as_asked_for(photos, monkeypatch):
    monkeypatch.setattr(shared, "count_cores", lambda: 2)
    forked: list[int] = []
    os.register_at_fork(after_in_parent=lambda: forked.append(1))
    results, counts = [], []
    for workers in (0, 1, "auto"):
        params, settings = {"cache": False}, {"input_size": (8, 8), "epochs": 1, "augment": "flip"}
        before = len(forked)
        result = zoo.run("baseline", str(photos), dataset_params=params, workers=workers, **settings)
        counts.append(len(forked) - before)
        results.append(zoo.load(result.weights).weights.digests["tensors"])
    assert results[0] == results[1] == results[2]
    looked, one, auto = counts  # whatever trains, files are looked through by processes
    assert 0 < 2 * (one - looked) == auto - looked, "a worker for each core, where it is open"
    assert not multiprocessing.active_children()
