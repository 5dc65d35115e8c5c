"""Pictures of one's own: every layout that is understood, and in which words the others are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from pictures import COLORS, draw, make_folder

import zoo
from zoo.cli.main import main
from zoo_plugins.datasets.image_folder import image_folder

TRAIN = ["--model", "baseline", "--input-size", "8x8", "--epochs", "1"]


def name_files(split: zoo.ImageFiles, folder: Path) -> list[str]:
    return [Path(file).relative_to(folder).as_posix() for file in split.files]


def list_splits(path: Path, **params) -> dict[str, list[str]]:
    """Return the files of each split, from the folder of all."""
    folder = path if path.is_dir() else path.parent
    splits = image_folder(root="unused", path=str(path), **params)
    return {name: name_files(split, folder) for name, split in splits.items()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_folder(tmp_path / "photos")
    return tmp_path / "photos"


def test_a_folder_for_each_class(photos):
    splits = image_folder(root="unused", path=str(photos))
    assert splits.class_names == ["cat", "dog", "fox", "owl"]
    assert splits.validation is None
    assert (Counter(splits.train.targets), Counter(splits.test.targets)) == (
        Counter(dict.fromkeys(range(4), 8)),
        Counter(dict.fromkeys(range(4), 2)),
    )
    for split in (splits.train, splits.test):
        for file, target in zip(split.files, split.targets, strict=True):
            assert Path(file).parent.name == splits.class_names[target]
    assert {*splits.train.files, *splits.test.files} == {str(file) for file in photos.rglob("*.png")}
    image, target = splits.train[0]
    assert (tuple(image.shape), str(image.dtype), target) == ((3, 30, 40), "torch.uint8", 0)
    red, green, _ = image.float().mean(dim=(1, 2)).tolist()
    assert red > 200 > 100 > green


def test_the_test_split_depends_on_its_seed_and_the_paths_alone(photos, tmp_path, monkeypatch):
    before = list_splits(photos)
    assert list_splits(photos, seed=1)["test"] != before["test"]
    assert len(list_splits(photos, test=0.5)["test"]) == 20
    moved = tmp_path / "elsewhere" / "pictures"
    shutil.copytree(photos, moved)
    assert list_splits(moved) == before
    listed = os.walk
    # Only the order in which a disk lists its names differs.
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((p, d[::-1], f[::-1]) for p, d, f in listed(*a, **k)))
    assert list_splits(photos) == before
    draw(photos / "cat" / "new.png")
    assert set(before["test"]) - set(list_splits(photos)["test"]) <= {file for file in before["test"] if "cat" in file}


def test_folders_of_splits_above_the_classes(tmp_path):
    for folder, each in (("Train", 3), ("val", 2), ("test", 1)):
        make_folder(tmp_path / folder, each, ("cat", "dog"))
    counts = {name: len(files) for name, files in list_splits(tmp_path).items()}
    assert counts == {"train": 6, "validation": 4, "test": 2}
    assert all(file.startswith("val/") for file in list_splits(tmp_path)["validation"])
    shutil.rmtree(tmp_path / "test")
    found = list_splits(tmp_path)
    assert (len(found["train"]), len(found["validation"]), len(found["test"])) == (4, 4, 2)
    assert all(file.startswith("Train/") for file in found["test"])


def test_train_and_test_may_be_classes(tmp_path):
    for name in ("train", "bus", "car"):
        make_folder(tmp_path / "rail", 3, ("cat",))
        (tmp_path / "rail" / "cat").rename(tmp_path / name)
    shutil.rmtree(tmp_path / "rail")
    assert image_folder(root="unused", path=str(tmp_path)).class_names == ["bus", "car", "train"]


CSV = "path,label\n" + "".join(f"{name}/{number:03}.png,{name}\n" for name in ("cat", "dog") for number in range(5))


@pytest.mark.parametrize("form", ["csv", "jsonl", "csv of a spreadsheet"])
def test_a_list_of_pictures(tmp_path, form):
    make_folder(tmp_path, 5)
    rows = [line.split(",") for line in CSV.splitlines()[1:]]
    if form == "jsonl":
        listed = tmp_path / "all.jsonl"
        listed.write_text("\n".join(json.dumps({"path": path, "label": label}) for path, label in rows))
    elif form == "csv":
        listed = tmp_path / "all.csv"
        listed.write_text(CSV)
    else:
        listed = tmp_path / "all.CSV"
        lines = [f'"{label}",x,"./{path}"\r\n' for path, label in rows[::-1]]
        listed.write_bytes(b"\xef\xbb\xbf" + "".join(["Label, note ,PATH\r\n", *lines]).encode())
    assert list_splits(listed) == {
        "train": [
            f"{name}/{number:03}.png" for name in ("cat", "dog") for number in range(5) if f"{name}{number}" not in HELD
        ],
        "test": [f"{held[:3]}/00{held[3]}.png" for held in HELD],
    }


HELD = ("cat4", "dog3")
"""The first of each class by the SHA-256 of `0/` and its path, see test_who_is_held_back."""


def test_who_is_held_back():
    for name, held in zip(("cat", "dog"), HELD, strict=True):
        places = [f"{name}/00{number}.png" for number in range(5)]
        first = min(places, key=lambda place: hashlib.sha256(f"0/{place}".encode()).digest())
        assert first == f"{name}/00{held[3]}.png"


def test_a_list_with_splits(tmp_path):
    make_folder(tmp_path, 4, ("cat", "dog"))
    rows = ["path,label,split"]
    for name in ("cat", "dog"):
        rows += [
            f"{name}/00{number}.png,{name},{split}" for number, split in enumerate(["train", "train", "VAL", "test"])
        ]
    (tmp_path / "all.csv").write_text("\n".join(rows))
    assert list_splits(tmp_path / "all.csv") == {
        "train": ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"],
        "validation": ["cat/002.png", "dog/002.png"],
        "test": ["cat/003.png", "dog/003.png"],
    }


def test_names_of_any_script_links_and_hidden_files(tmp_path):
    folder = tmp_path / "photos"
    for name in ("猫 と", "e\u0301té"):  # e and an accent, as some disks write it
        make_folder(tmp_path / "made", 4, ("cat",))
        (folder / name).parent.mkdir(exist_ok=True)
        (tmp_path / "made" / "cat").rename(folder / name)
    make_folder(tmp_path / "linked", 4, ("cat",))
    (folder / "via link").symlink_to(tmp_path / "linked" / "cat")
    (folder / "猫 と" / "loop").symlink_to(folder)
    draw(folder / ".hidden" / "a.png")
    draw(folder / "猫 と" / "._000.png")
    draw(folder / "猫 と" / "deep" / "er" / "b.png", seed=99)
    splits = image_folder(root="unused", path=str(folder))
    assert splits.class_names == ["via link", "été", "猫 と"]
    assert len(splits.train) + len(splits.test) == 13
    assert sum("deep" in file for file in (*splits.train.files, *splits.test.files)) == 1


def break_folder(folder: Path, how: str) -> None:
    """Make a folder of two classes, and what is wrong with it."""
    make_folder(folder, 3, ("cat", "dog"))
    match how:
        case "empty":
            shutil.rmtree(folder)
            folder.mkdir()
        case "absent":
            shutil.rmtree(folder)
        case "a file":
            shutil.rmtree(folder)
            folder.write_text("x")
        case "flat":
            draw(folder / "c.png")
            shutil.rmtree(folder / "cat")
            shutil.rmtree(folder / "dog")
        case "pictures beside":
            draw(folder / "c.png")
        case "one class":
            shutil.rmtree(folder / "dog")
        case "one level too high":
            (folder / "dog").rename(folder / "cat" / "dog")
            make_folder(folder / "cat", 3, ("fox",))
        case "empty class":
            (folder / "fox").mkdir()
        case "no pictures in a class":
            (folder / "fox").mkdir()
            (folder / "fox" / "a.txt").write_text("x")
        case "one sample":
            draw(folder / "fox" / "a.png")
        case "case":
            make_folder(folder / "x", 3, ("cat",))
            (folder / "x" / "cat").rename(folder / "CAT")
            (folder / "x").rmdir()
        case "same name":
            for name in ("\u00e9", "e\u0301"):
                draw(folder / name / "a.png")
        case _:
            break_splits(folder, how)


def break_splits(folder: Path, how: str) -> None:
    shutil.rmtree(folder)
    for split in ("train", "test"):
        make_folder(folder / split, 2, ("cat", "dog"))
    match how:
        case "class in test only":
            draw(folder / "test" / "fox" / "a.png")
        case "class in train only":
            draw(folder / "train" / "fox" / "a.png")
        case "class beside splits":
            draw(folder / "fox" / "a.png")
        case "picture beside splits":
            draw(folder / "a.png")
        case "split twice":
            for name in ("val", "valid"):
                make_folder(folder / name, 2, ("cat", "dog"))
        case "no train":
            (folder / "train").rename(folder / "val")
        case "split without classes":
            shutil.rmtree(folder / "test")
            draw(folder / "test" / "a.png")


BAD_FOLDERS = {
    "empty": "photos: it has no folders of classes. Put the pictures of each class into a folder",
    "absent": "photos: no such folder",
    "a file": "photos: expected a folder, or a .csv or .jsonl file",
    "flat": "photos: it has pictures, and no folders of classes",
    "pictures beside": "photos: 'c.png' lies beside the folders of the classes. Move it into the folder of its class",
    "one class": "photos: it has one class ('cat'). Put the pictures of each class in a folder",
    "one level too high": "photos/cat?",
    "empty class": "photos: class 'fox' has no pictures. Remove the folder, or put pictures into it",
    "no pictures in a class": "photos: class 'fox' has no pictures",
    "one sample": "photos: class 'fox' has one training picture, and a test split needs another one",
    "case": "photos: the classes 'CAT' and 'cat' differ in upper and lower case alone",
    "same name": "photos: two folders are called 'é'. Put them together",
    "class in test only": "photos: class 'fox' is in the test split, and not in the training split",
    "class in train only": "photos: class 'fox' is in the training split, and not in the test split",
    "class beside splits": "photos: 'fox' lies beside the splits 'test', 'train'. Move it into the folder of a split",
    "picture beside splits": "photos: 'a.png' lies beside the splits",
    "split twice": "photos: 'val', 'valid' are both the validation split",
    "no train": "photos: it has no training split. It has: validation, test",
    "split without classes": "photos/test: it has pictures, and no folders of classes",
}


@pytest.mark.parametrize("how", BAD_FOLDERS)
def test_folders_that_are_refused(own_folder, capsys, how):
    break_folder(own_folder / "photos", how)
    assert main(["run", "--dataset", "./photos", *TRAIN]) == 3
    assert BAD_FOLDERS[how] in capsys.readouterr().err


TWO = "cat/000.png,cat\ncat/001.png,cat\ndog/000.png,dog\ndog/001.png,dog\n"
BAD_LISTS = {
    "nothing": ("", "line 1: no column 'path', got ''"),
    "no rows": ("path,label\n", "it lists no pictures"),
    "no label": ("path,class\n", "line 1: no column 'label', got 'path, class'. The first line names the columns"),
    "semicolons": ("path;label\n", "no column 'path', got 'path;label'"),
    "two columns": ("path,label,label\n", "two columns 'label'"),
    "absent": (f"path,label\n{TWO}cat/9.png,cat\n", "all.csv, line 6: no such file: 'cat/9.png'"),
    "outside": (f"path,label\n{TWO}../secret.png,cat\n", "line 6: '../secret.png' is outside the folder of the list"),
    "root": (f"path,label\n{TWO}/etc/passwd,cat\n", "line 6: '/etc/passwd' is outside the folder of the list"),
    "empty path": (f"path,label\n{TWO},cat\n", "line 6: the path is empty"),
    "empty label": (f"path,label\n{TWO}cat/002.png,\n", "line 6: the label is empty"),
    "twice": (f"path,label\n{TWO}./cat/000.png,cat\n", "line 6: 'cat/000.png' is in line 2 already"),
    "another label": (f"path,label\n{TWO}cat/000.png,dog\n", "line 6: 'cat/000.png' is in line 2 already"),
    "a comma more": (f"path,label\n{TWO}cat/002.png,cat,dog\n", "line 6: expected 2 values, got 3"),
    "unknown split": ("path,label,split\ncat/000.png,cat,training2\n", "no split 'training2'. Splits are train, val"),
    "some splits": (
        "path,label,split\ncat/000.png,cat,train\ncat/001.png,cat,\n",
        "line 3: no split, as other lines have. Give all or none",
    ),
    "one class": ("path,label\ncat/000.png,cat\ncat/001.png,cat\n", "it has one class ('cat')"),
    "test only": (
        "path,label,split\n" + "".join(f"{row},{'test' if 'dog' in row else 'train'}\n" for row in TWO.split()),
        "class 'dog' is in the test split, and not in the training split",
    ),
    "open quote": (f'path,label\n{TWO}"cat/002.png,cat\n', "unexpected end of data"),
    "latin": (b"path,label\ncat/000.png,caf\xe9\n", "it is not UTF-8"),
    "nul": ("path,label\ncat/0\x0000.png,cat\n", "all.csv, line 2"),
}


@pytest.mark.parametrize("how", BAD_LISTS)
def test_lists_that_are_refused(own_folder, capsys, how):
    make_folder(own_folder, 3, ("cat", "dog"))
    draw(own_folder.parent / "secret.png")
    content, words = BAD_LISTS[how]
    (own_folder / "all.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["run", "--dataset", "all.csv", *TRAIN]) == 3
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 5: no JSON"),
        ("[" * 100_000, "line 5: no JSON"),
        ("[1]", "line 5: expected an object with path and label, got '[1]'"),
        ('{"path": "cat/002.png"}', "line 5: no 'label', got 'path'"),
        ('{"path": "cat/002.png", "label": 0.5}', "line 5: label: expected a text, got 0.5"),
        ('{"path": "cat/002.png", "label": true}', "line 5: label: expected a text, got True"),
        ('{"path": ["cat/002.png"], "label": "cat"}', "line 5: path: expected a text"),
    ],
)
def test_lines_of_json_that_are_refused(own_folder, capsys, line, words):
    make_folder(own_folder, 3, ("cat", "dog"))
    rows = [dict(zip(("path", "label"), row.split(","), strict=True)) for row in TWO.split()]
    (own_folder / "all.jsonl").write_text("\n".join([*map(json.dumps, rows), line]))
    assert main(["run", "--dataset", "all.jsonl", *TRAIN]) == 3
    assert words in capsys.readouterr().err


def test_numbers_may_be_labels(tmp_path):
    make_folder(tmp_path, 3, ("cat", "dog"))
    rows = [{"path": f"{name}/00{n}.png", "label": i} for i, name in enumerate(("cat", "dog")) for n in range(3)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert image_folder(root="unused", path=str(tmp_path / "all.jsonl")).class_names == ["0", "1"]


@pytest.mark.parametrize(
    ("params", "words"),
    [({"test": 0}, "test: expected a share between 0 and 1"), ({"size": 0}, "size: expected pixels, got 0")],
)
def test_params_that_are_refused(photos, params, words):
    with pytest.raises(zoo.UsageError, match=words):
        zoo.load_dataset(str(photos), params=params)


def test_files_that_are_no_pictures_by_name_are_told(photos, caplog):
    (photos / "cat" / "IMG_1.HEIC").write_bytes(b"x")
    with caplog.at_level("INFO", "zoo"):
        splits = image_folder(root="unused", path=str(photos))
    assert len(splits.train) + len(splits.test) == 40
    assert "photos: ignored what is no picture by its name: 'IMG_1.HEIC'" in caplog.text


def test_it_learns_and_predicts(own_folder, capsys):
    make_folder(own_folder / "photos", 12, ends=".jpg")
    line = [
        "run",
        "--dataset",
        "./photos",
        "--model",
        "baseline",
        "--input-size",
        "8x8",
        "--epochs",
        "10",
        "--lr",
        "0.3",
    ]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] == 1
    draw(own_folder / "new.png", COLORS["fox"], (50, 70), seed=77)
    assert main(["predict", "@last", "new.png"]) == 0
    assert "fox" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_handed_on_tells_nobody_the_home_folder(own_folder, monkeypatch):
    """A training's own record keeps the path, so that it can be repeated; so does its weights file, on this machine."""
    home = own_folder.resolve()
    monkeypatch.setenv("HOME", str(home))
    make_folder(home / "photos")
    options = {"input_size": (8, 8), "epochs": 1, "seed": 1, "runs_dir": home / "runs"}
    run = zoo.run("baseline", str(home / "photos"), **options)
    assert json.loads((run.run / "run.json").read_text())["dataset"]["params"]["path"] == str(home / "photos")
    page = zoo.report([run.run], home / "report.html")
    for file in (run.weights, run.run / "predictions.safetensors", run.run / "history.csv", page):
        assert str(home).encode() not in file.read_bytes(), file.name
    assert b"path=~/photos" in page.read_bytes() and b"~/photos" in run.weights.read_bytes()
    assert zoo.load(run.weights).metadata["dataset"]["params"]["path"] == str(home / "photos")
    assert zoo.evaluate(run.weights).metrics == run.metrics
    repeated = zoo.reproduce(run.weights, runs_dir=home / "again")
    assert repeated.grade == "BITWISE"
    # Somebody else has a home of their own, and may have the pictures there.
    other = home / "other"
    other.mkdir()
    monkeypatch.setenv("HOME", str(other))
    with pytest.raises(zoo.ZooError, match="other/photos"):
        zoo.evaluate(run.weights)
    shutil.copytree(home / "photos", other / "photos")
    assert zoo.evaluate(run.weights).metrics == run.metrics
