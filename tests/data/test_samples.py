"""Samples of a data set: loaded, listed and drawn, through the command line and from Python."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import zoo
from zoo.cli.main import main
from zoo.data.loading import build_dataset
from zoo.errors import DataError, SettingError, UnknownNameError, UsageError
from zoo.registry.entries import Registry

pytestmark = pytest.mark.usefixtures("own_folder")

SIZES = {"train_size": 64, "test_size": 40}
SMALL = ["--dataset-param", "train_size=64", "--dataset-param", "test_size=40"]
PLUGIN = '''
import torch
from PIL import Image
from torch.utils.data import Dataset

import zoo


class Pictures(Dataset):
    """Pictures of all sizes, colours and forms; the last ones are broken in one way each."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 4:
            raise OSError("the picture\\nis gone")
        image = Image.new("RGB" if index % 2 else "L", (10 + index, 20), 40 * index)
        return image, 7 if index == 5 else index % 2


@zoo.dataset(name="pictures", description="Pictures of all sizes.")
def pictures(*, root):
    return zoo.DataSplits(train=Pictures(), test=Pictures(), class_names=("$grey$", "\\x1b[31mcol\\nor"))


@zoo.dataset(name="rows", description="Rows of numbers.")
def rows(*, root):
    split = torch.tensor([[0.5, -1.0], [2.0, 3.0]]), torch.tensor([0, 1])
    return zoo.DataSplits(train=split, test=split, validation=split, class_names=("low", "high"))
'''


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    path = tmp_path / "pictures.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return str(path)


def read_svg(path: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", Path(path).read_text(encoding="utf-8"))


def test_samples_are_those_of_the_split_with_their_names() -> None:
    samples = zoo.load_samples("shapes", split="test", count=9, seed=1, dataset_params=SIZES)
    splits = build_dataset(Registry.discover().get("dataset", "shapes"), root=Path(), params=SIZES)
    assert (samples.dataset, samples.split) == ("shapes", "test")
    assert len(set(samples.indices)) == len(samples.images) == 9
    for index, image, target, label in zip(
        samples.indices, samples.images, samples.targets, samples.labels, strict=True
    ):
        assert torch.equal(image, splits.test[0][index])
        assert target == int(splits.test[1][index]) and label == splits.class_names[target]


def test_the_seed_chooses_the_samples() -> None:
    def choose(**options: int) -> tuple[int, ...]:
        return zoo.load_samples("shapes", dataset_params=SIZES, **options).indices

    assert choose() == choose(seed=42) == choose(seed=42, count=20)[:16]
    assert choose(seed=43) != choose() and len(choose()) == 16
    assert sorted(choose(count=999)) == list(range(64))


def test_the_table_says_what_the_samples_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "shapes", *SMALL, "--split", "test", "--grid", "2x3", "--seed", "5"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    samples = zoo.load_samples("shapes", split="test", count=6, seed=5, dataset_params=SIZES)
    assert header.split() == ["index", "class", "shape", "dtype", "values"]
    for row, index, label, image in zip(rows, samples.indices, samples.labels, samples.images, strict=True):
        values = f"{int(image.min())}..{int(image.max())}"
        assert row.split() == [str(index), label, "1x28x28", "uint8", values]
    assert list(Path().iterdir()) == []


def test_json_is_the_same_as_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "shapes", *SMALL, "--index", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    samples = zoo.load_samples("shapes", index=3, dataset_params=SIZES)
    assert printed == {"dataset": "shapes", "split": "train", "samples": samples.describe(), "output": None}
    assert printed["samples"][0]["index"] == 3 and printed["samples"][0]["shape"] == [1, 28, 28]


def test_the_picture_has_every_name_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "shapes", *SMALL, "--grid", "2x5", "--output", "grid.svg"]) == 0
    assert capsys.readouterr().out == "picture: grid.svg\n"
    samples = zoo.load_samples("shapes", count=10, dataset_params=SIZES)
    assert read_svg("grid.svg") == [*samples.labels, "shapes, train"]
    assert main(["samples", "shapes", *SMALL, "--grid", "2x5", "--output", "again.svg"]) == 0
    assert Path("again.svg").read_bytes() == Path("grid.svg").read_bytes()
    figure = zoo.plot_samples(samples.images, samples.labels, columns=5)
    assert [axes.get_title() for axes in figure.axes] == list(samples.labels)
    rows = [round(axes.get_position().y0, 3) for axes in figure.axes]
    assert len(set(rows[:5])) == len(set(rows[5:])) == 1 and rows[0] > rows[5]
    for suffix, head in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        assert main(["samples", "shapes", *SMALL, "--index", "0", "--output", f"one{suffix}"]) == 0
        assert Path(f"one{suffix}").read_bytes().startswith(head)


def test_a_grid_larger_than_the_split_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "shapes", "--dataset-param", "train_size=5", "--grid", "3x3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 5


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("shapes --split tset", 2, "Error: dataset 'shapes' has no split 'tset'. Did you mean 'test'?"),
        ("shapes --split validation", 2, "Error: dataset 'shapes' has no split 'validation'. It has: train, test"),
        ("shapes --index 64", 2, "the train split of 'shapes' has no sample 64: it has 64 samples, 0 to 63"),
        ("shapes --index -1", 2, "the train split of 'shapes' has no sample -1: it has 64 samples, 0 to 63"),
        ("shapes --grid 0x4", 2, "grid: expected 1 to 400 cells, as 3x3, got '0x4'"),
        ("shapes --grid 100x100", 2, "grid: expected 1 to 400 cells, as 3x3, got '100x100'"),
        ("shapes --grid 4", 2, "--grid: expected ROWSxCOLUMNS, as 3x3, got '4'"),
        ("shapes --grid 4x4 --index 1", 2, "--index and --grid were both given"),
        ("shapes --output grid.gif", 2, "expected the name of a .png, .svg or .pdf file, got 'grid.gif'"),
        ("shape", 2, "no dataset named 'shape'. Did you mean 'shapes'?"),
        ("shapes --output nowhere/grid.png", 7, "cannot save the picture to nowhere/grid.png"),
        ("fashionmnist --offline", 6, "cannot download fashionmnist: offline and not there"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], arguments: str, code: int, line: str
) -> None:
    small = SMALL if arguments.startswith("shapes") else []
    assert main(["samples", *arguments.split(), *small]) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and line in err
    assert list(Path().iterdir()) == []


def test_python_raises_what_the_command_says() -> None:
    with pytest.raises(UsageError, match="no split 'dev'"):
        zoo.load_samples("shapes", split="dev", dataset_params=SIZES)
    with pytest.raises(SettingError, match="count: must be at least 1, got 0"):
        zoo.load_samples("shapes", count=0)
    with pytest.raises(UnknownNameError):
        zoo.load_samples("shape")


def test_pictures_of_all_sizes_are_looked_at(capsys: pytest.CaptureFixture[str], plugin: str) -> None:
    for index, shape in enumerate(("1x20x10", "3x20x11", "1x20x12", "3x20x13")):
        assert main(["samples", "pictures", "--plugin", plugin, "--index", str(index)]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        # The names are foreign text: nothing in them drives a terminal.
        name = r"$grey$" if index % 2 == 0 else r"\x1b[31mcol\nor"
        values = f"{40 * index}..{40 * index}" if index % 2 == 0 else f"0..{40 * index}"
        assert row.split() == [str(index), name, shape, "uint8", values]
    arguments = ["samples", "pictures", "--plugin", plugin, "--index", "1", "--output", "one.svg"]
    assert main(arguments) == 0
    assert read_svg("one.svg") == [r"\x1b[31mcol or", "pictures, train"]


def test_a_broken_sample_is_named(capsys: pytest.CaptureFixture[str], plugin: str) -> None:
    arguments = ["samples", "pictures", "--plugin", plugin, "--index"]
    assert main([*arguments, "4"]) == 3
    line = "train split: sample 4 cannot be read: OSError: the picture is gone"
    assert line in capsys.readouterr().err
    assert main([*arguments, "5"]) == 3
    assert "target 7 is outside 0..1" in capsys.readouterr().err


def test_what_is_no_picture_can_be_listed_only(capsys: pytest.CaptureFixture[str], plugin: str) -> None:
    arguments = ["samples", "rows", "--plugin", plugin, "--split", "validation"]
    assert main(arguments) == 0
    assert {tuple(row.split()) for row in capsys.readouterr().out.splitlines()[1:]} == {
        ("0", "low", "2", "float32", "-1..0.5"),
        ("1", "high", "2", "float32", "2..3"),
    }
    assert main([*arguments, "--output", "rows.png"]) == 3
    assert "a sample of shape (2,) is no picture" in capsys.readouterr().err
    with pytest.raises(DataError):
        zoo.plot_samples(zoo.load_samples("rows", plugins=[plugin]).images, ["a", "b"])


def test_real_clothes_have_their_names(fashionmnist_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["samples", "fashionmnist", "--data-dir", str(fashionmnist_root), "--offline"]
    assert main([*arguments, "--index", "0", "--output", "first.svg"]) == 0
    assert read_svg("first.svg") == ["Ankle boot", "fashionmnist, train"]
    assert main([*arguments, "--index", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["0", "Ankle", "boot", "1x28x28", "uint8", "0..255"]


def test_samples_are_shown_before_and_after_augmentation(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["samples", "shapes", *SMALL, "--grid", "2x2", "--seed", "7", "--augment", "flip,crop:padding=9"]
    assert main([*given, "--output", "both.svg"]) == 0
    assert capsys.readouterr().out == "picture: both.svg\n"
    samples = zoo.samples("shapes", count=4, seed=7, augment="flip,crop:padding=9", dataset_params=SIZES)
    captions = [caption for label in samples.labels for caption in (label, "augmented")]
    assert read_svg("both.svg") == [*captions, "shapes, train: each as it is, and augmented"]
    expected = zoo.augment.parse("flip,crop:padding=9")(torch.stack(samples.images), samples.indices, 0, seed=7)
    assert torch.equal(torch.stack(samples.augmented), expected)
    assert not torch.equal(expected, torch.stack(samples.images))
    plain = zoo.samples("shapes", count=4, dataset_params=SIZES)
    shown = zoo.samples("shapes", count=4, augmented=True, dataset_params=SIZES)
    assert plain.augmented == () and len(shown.augmented) == 4
    assert torch.equal(torch.stack(shown.images), torch.stack(plain.images))


def test_an_augmentation_that_cannot_be_shown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "shapes", *SMALL, "--augmented"]) == 2
    assert "augmented samples are drawn. Say where with --output FILE" in capsys.readouterr().err
    for text, told in (("flop", "Did you mean 'flip'?"), ("crop:pad=1", "'padding'"), ("mixup", "mixes two samples")):
        assert main(["samples", "shapes", *SMALL, "--augment", text, "--output", "no.png"]) == 2
        assert told in capsys.readouterr().err
    assert list(Path().iterdir()) == []
