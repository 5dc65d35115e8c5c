"""What a data set holds: samples of each class and split, and batches as the course prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

import zoo
from zoo.cli.main import main
from zoo.errors import DataError, UnknownNameError, UsageError

TARGETS = torch.tensor([2, 0, 2, 2, 0, 2, 2])


class Pictures(Dataset[Any]):
    def __init__(self, targets: Tensor) -> None:
        self.targets_of_mine = targets.tolist()

    def __len__(self) -> int:
        return len(self.targets_of_mine)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("L", (6, 4)), self.targets_of_mine[index]


def own_registry(targets: Tensor = TARGETS, *, as_dataset: bool) -> zoo.Registry:
    def pictures(*, root: Path) -> zoo.DataSplits:
        pair = torch.zeros(len(targets), 1, 4, 6, dtype=torch.uint8), targets
        split = Pictures(targets) if as_dataset else pair
        preprocess = zoo.Preprocess(channels=3)
        return zoo.DataSplits(
            train=split, test=split, validation=split, class_names=("a", "b", "c"), preprocess=preprocess
        )

    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="pictures", factory=pictures))
    return registry


@pytest.mark.parametrize("as_dataset", [True, False])
def test_a_class_without_samples_is_counted_as_that(as_dataset: bool) -> None:
    found = zoo.describe_dataset("pictures", registry=own_registry(as_dataset=as_dataset), batch_size=3)
    assert (found.dataset, found.class_names) == ("pictures", ("a", "b", "c"))
    assert list(found.splits) == ["train", "validation", "test"]
    for split in found.splits.values():
        assert (split.samples, split.per_class) == (7, (2, 0, 5))
        assert (split.batches, split.batch_size) == (3, 3)
        assert (split.inputs, split.targets) == ((3, 3, 4, 6), (3,))
    whole = zoo.describe_dataset("pictures", registry=own_registry(as_dataset=as_dataset)).splits["train"]
    assert (whole.batches, whole.inputs, whole.targets) == (1, (7, 3, 4, 6), (7,))


def test_a_sample_that_cannot_be_read_is_named() -> None:
    bad = torch.cat([torch.zeros(70, dtype=torch.int64), torch.tensor([1, 3])])
    with pytest.raises(DataError, match=r"dataset 'pictures': sample 71: .*target 3 is outside 0\.\.2"):
        zoo.describe_dataset("pictures", registry=own_registry(bad, as_dataset=True))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size: must be at least 1, got 0"):
        zoo.describe_dataset("shapes", batch_size=0)
    with pytest.raises(UnknownNameError, match="no dataset named 'shape'"):
        zoo.describe_dataset("shape")
    with pytest.raises(UsageError, match="has no setting 'siz'"):
        zoo.describe_dataset("shapes", dataset_params={"siz": 3})


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    params = ["--dataset-param", "train_size=100", "--dataset-param", "test_size=33"]
    assert main(["show", "shapes", "--counts", *params]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = zoo.describe_dataset("shapes", dataset_params={"train_size": 100, "test_size": 33})
    start = next(index for index, line in enumerate(lines) if line.split() == ["class", "train", "test"])
    for index, name in enumerate(expected.class_names):
        train, test = expected.splits["train"].per_class[index], expected.splits["test"].per_class[index]
        assert lines[start + 1 + index].split() == [str(index), *name.split(), str(train), str(test)]
    assert lines[-3].split() == ["all", "100", "33"]
    assert lines[-2:] == [
        "  train: 4 batches of 32, inputs [32, 1, 28, 28], targets [32]",
        "  test: 2 batches of 32, inputs [32, 1, 28, 28], targets [32]",
    ]
    assert main(["show", "shapes", "--counts", *params, "--batch-size", "33", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["splits"]["test"]["batches"] == 1 and counts["splits"]["train"]["batches"] == 4
    assert counts["class_names"] == list(expected.class_names)
    assert sum(counts["splits"]["train"]["per_class"]) == 100


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["baseline", "--counts"], 2, "no dataset named 'baseline'"),
        (["@last", "--counts"], 2, "counts and weights were both given. Give the name of the data set"),
        (["shapes", "--counts", "--batch-size", "many"], 2, "batch_size: must be a whole number, got 'many'"),
        (["fashionmnist", "--counts", "--offline", "--data-dir", "nothing"], 6, "offline and not there"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    assert main(["show", *(str(tmp_path / word) if word == "nothing" else word for word in arguments)]) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and text in err


def test_fashionmnist_has_the_batches_of_the_course(
    capsys: pytest.CaptureFixture[str], fashionmnist_root: Path
) -> None:
    assert main(["show", "fashionmnist", "--counts", "--data-dir", str(fashionmnist_root)]) == 0
    out = capsys.readouterr().out
    assert "  9 Ankle boot    6000   1000\n  all            60000  10000\n" in out
    assert "train: 1875 batches of 32, inputs [32, 1, 28, 28], targets [32]\n" in out
    assert "test: 313 batches of 32, inputs [32, 1, 28, 28], targets [32]\n" in out
