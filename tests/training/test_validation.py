"""A validation split chooses the epoch whose weights are kept; the test split is read at the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

import zoo
from zoo.cli.main import main
from zoo.data.splits import DataSplits, hash_splits
from zoo.data.validation import hold_back, read_targets
from zoo.records.history import Epoch
from zoo.registry.places import open_places
from zoo.registry.specs import DatasetSpec
from zoo.training.choice import Choice
from zoo.training.plan import Wanted
from zoo.training.request import make_request
from zoo.training.setup import prepare

SMALL = {"train_size": 400, "test_size": 100}


def make_splits(counts: tuple[int, ...] = (50, 30, 20), validation: Any = None) -> DataSplits:
    targets = torch.cat([torch.full((count,), index) for index, count in enumerate(counts)])
    targets = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))]
    images = torch.arange(len(targets)).view(-1, 1, 1, 1).repeat(1, 1, 4, 4).to(torch.uint8)
    names = tuple("abcdef"[: len(counts)])
    return DataSplits(train=(images, targets), test=(images, targets), class_names=names, validation=validation)


def numbers(split: Any) -> list[int]:
    return split[0][:, 0, 0, 0].tolist()


def held(splits: DataSplits, fraction: float = 0.1, seed: int = 0) -> list[int]:
    return numbers(hold_back("pets", splits, fraction, seed, hash_splits(splits)).validation)


def test_each_class_gives_its_share_and_nothing_is_in_both_parts() -> None:
    splits = make_splits()
    parts = hold_back("pets", splits, 0.2, 0, hash_splits(splits))
    train, validation = parts.train, parts.validation
    assert isinstance(train, tuple) and isinstance(validation, tuple) and parts.test is splits.test
    assert Counter(validation[1].tolist()) == {0: 10, 1: 6, 2: 4}
    assert sorted(numbers(train) + numbers(validation)) == list(range(100))
    assert numbers(train) == sorted(numbers(train)), "the order of those that stay"
    # A share that would take none, or all, of a class leaves one on each side.
    assert Counter(hold_back("pets", make_splits((50, 2)), 0.01, 0, None).validation[1].tolist()) == {0: 1, 1: 1}  # type: ignore[index]
    assert Counter(hold_back("pets", make_splits((50, 2)), 0.99, 0, None).train[1].tolist()) == {0: 1, 1: 1}  # type: ignore[index]


def test_the_choice_of_samples_follows_from_data_share_and_seed_alone() -> None:
    splits = make_splits()
    assert held(splits) == held(make_splits()) and held(splits, seed=1) != held(splits)
    other = make_splits()
    other.test[0][0] += 1  # type: ignore[index]
    assert held(other) != held(splits)
    torch.manual_seed(5)
    assert held(splits) == held(splits)
    # Written down once: an upgrade must not choose others.
    assert held(splits) == WRITTEN_DOWN


WRITTEN_DOWN = [2, 8, 9, 13, 22, 26, 57, 68, 77, 87]


class Counting(Dataset[Any]):
    def __init__(self, size: int, reads: Counter[int]) -> None:
        self.size, self.reads = size, reads

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.reads[index] += 1
        return torch.full((1, 8, 8), 20 * (index % 3), dtype=torch.uint8), index % 3


def count_reads(tmp_path: Path, **settings: Any) -> tuple[zoo.RunResult, Counter[int]]:
    train, test = Counter[int](), Counter[int]()

    def counted(*, root: Path) -> DataSplits:
        return DataSplits(train=Counting(90, train), test=Counting(600, test), class_names=("a", "b", "c"))

    registry = zoo.Registry.discover()
    registry.add(DatasetSpec(name="counted", factory=counted))
    result = zoo.run("baseline", "local/counted", epochs=4, registry=registry, runs_dir=tmp_path, **settings)
    return result, test


def test_with_a_validation_split_the_test_split_is_read_once(tmp_path: Path) -> None:
    _, without = count_reads(tmp_path)
    result, reads = count_reads(tmp_path, validation=0.2)
    assert set(reads.values()) == {1} and len(reads) == 600
    assert min(without.values()) >= 4
    assert len(result.history) == 4 and result.best["epoch"] in range(1, 5)
    assert all("validation" in epoch and "test" not in epoch for epoch in result.history)


def test_the_weights_are_those_of_the_best_epoch_and_the_last_ones_lie_beside_them(tmp_path: Path) -> None:
    # Full batches and a large rate make the score go up and down.
    settings = {"dataset_params": SMALL, "validation": 0.25, "lr": 0.6, "runs_dir": tmp_path}
    result = zoo.run("baseline", "shapes", epochs=8, monitor="accuracy", **settings)
    scores = [epoch["validation"]["accuracy"] for epoch in result.history]
    chosen = result.best["epoch"]
    assert chosen < 8, "this training is to have its best epoch before its last"
    assert result.best == {"epoch": chosen, "monitor": "accuracy", "value": max(scores)}
    assert scores.index(max(scores)) == chosen - 1 and result.validation == result.history[chosen - 1]["validation"]
    shorter = zoo.run("baseline", "shapes", epochs=chosen, **settings)
    last, best = load_file(result.run / "last.safetensors"), load_file(result.weights)
    assert all(torch.equal(best[name], value) for name, value in load_file(shorter.run / "last.safetensors").items())
    assert not all(torch.equal(best[name], last[name]) for name in best)
    assert zoo.evaluate(result.run).metrics == pytest.approx(result.metrics)
    record = json.loads((result.run / "run.json").read_text())
    assert record["best"]["epoch"] == chosen and record["validation"] == result.validation
    assert record["dataset"]["samples"] == {"train": 300, "validation": 100, "test": 100}
    for path in (result.weights, result.run / "last.safetensors"):
        assert "replayed" in zoo.verify(path).checks["golden samples"]
    # The data are those of a run without: results compare.
    plain = zoo.run("baseline", "shapes", epochs=1, dataset_params=SMALL, runs_dir=tmp_path)
    assert json.loads((plain.run / "run.json").read_text())["dataset"]["digest"] == record["dataset"]["digest"]
    assert not plain.best and not (plain.run / "last.safetensors").exists()


def test_seeds_see_the_same_split(tmp_path: Path) -> None:
    found = []
    for settings in ({"seed": 1}, {"seed": 2, "lr": 0.01}, {"seed": 1, "split_seed": 3}):
        wanted = Wanted(
            model="baseline",
            dataset="shapes",
            metrics="accuracy",
            params=None,
            dataset_params=SMALL,
            metric_params=None,
            settings={"validation": 0.25, **settings},
        )
        ready = prepare(make_request(wanted, open_places(zoo.Registry.discover(), (), runs_dir=tmp_path)))
        found.append(ready.splits.validation[0])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


class Listed(Dataset[Any]):
    """A Dataset that lists its targets, and gives others where it is told to."""

    def __init__(self, shift: int) -> None:
        self.targets, self.shift, self.reads = [index % 3 for index in range(90)], shift, 0

    def __len__(self) -> int:
        return 90

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.reads += 1
        return torch.zeros(1, 4, 4), (self.targets[index] + self.shift) % 3


@pytest.mark.parametrize("shift", [0, 1])
def test_listed_targets_spare_reading_where_they_are_what_a_dataset_gives(shift: int) -> None:
    dataset = Listed(shift)
    assert read_targets(dataset).tolist() == [(index + shift) % 3 for index in range(90)]
    assert (dataset.reads < 90) is (shift == 0)


def follow(values: list[float], **options: Any) -> tuple[int, int]:
    """Return the best epoch, and how many there were."""
    choice = Choice(**{"monitor": "loss", "higher_is_better": False, **options})
    for number, value in enumerate(values, start=1):
        epoch: Epoch = {"epoch": number, "train": {}, "validation": {choice.monitor: value}, "seconds": {}}
        choice.note(epoch)
        if choice.is_over(number):
            return choice.epoch, number
    return choice.epoch, len(values)


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1, 2], {}, (3, 4)),
        ([1, 1, 1], {}, (1, 3)),
        ([1, 2, 3, 4, 5], {"patience": 2}, (1, 3)),
        ([5, 4, 4.5, 3, 3, 3, 3], {"patience": 2}, (4, 6)),
        ([1, 0.95, 0.9, 0.85], {"patience": 2, "min_delta": 0.2}, (1, 3)),
        ([0.1, 0.3, 0.2, 0.2], {"monitor": "accuracy", "higher_is_better": True, "patience": 1}, (2, 3)),
    ],
)
def test_the_best_epoch_and_patience(values: list[float], options: dict[str, Any], expected: tuple[int, int]) -> None:
    assert follow(values, **options) == expected


def test_patience_ends_a_training_and_the_command_says_what_was_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--dataset-param", "train_size=400", "--dataset-param", "test_size=100", "--runs-dir", str(tmp_path)]
    arguments = ["--validation", "0.25", "--epochs", "40", "--lr", "0.9", "--patience", "2", "--monitor", "accuracy"]
    assert main(["run", *sizes, *arguments]) == 0
    out, err = capsys.readouterr()
    epochs = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert 3 <= len(epochs) < 40 and all("validation loss" in line and "test loss" not in line for line in epochs)
    assert f"best epoch {len(epochs) - 2} of {len(epochs)} by validation accuracy 0." in out
    assert out.splitlines()[0].startswith("accuracy 0.") and "test loss" in out.splitlines()[0]
    (folder,) = tmp_path.iterdir()
    for command in ("plot", "report", "compare"):
        output = tmp_path / f"{command}.{'html' if command == 'report' else 'svg'}"
        kind = ["--kind", "curves"] if command == "plot" else []
        assert main([command, str(folder), *kind, "--output", str(output)]) == 0, command
    assert "validation loss" in (tmp_path / "report.html").read_text()


def test_a_stop_keeps_the_best_epoch_so_far(tmp_path: Path) -> None:
    seen: list[Epoch] = []

    def stop(epoch: Epoch) -> None:
        seen.append(epoch)
        if len(seen) == 5:
            raise KeyboardInterrupt

    settings = {"dataset_params": SMALL, "validation": 0.25, "lr": 0.6, "runs_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        zoo.run("baseline", "shapes", epochs=9, monitor="accuracy", on_epoch=stop, **settings)
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "run.json").read_text())
    scores = [epoch["validation"]["accuracy"] for epoch in seen]
    assert record["status"] == "interrupted" and record["best"]["value"] == max(scores)
    chosen = scores.index(max(scores)) + 1
    shorter = zoo.run("baseline", "shapes", epochs=chosen, monitor="accuracy", **settings)
    expected = load_file(shorter.run / "last.safetensors")
    kept = load_file(folder / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("arguments", "code", "lines"),
    [
        (
            "--patience 3 --min-delta 0.1",
            2,
            ["patience: needs a validation split, got 3. Add --validation 0.1", "min"],
        ),
        ("--monitor accuracy --split-seed 4", 2, ["split_seed: needs a validation", "monitor: needs a validation"]),
        ("--validation 0.1 --monitor f1", 2, ["monitor: must be a score of this run, loss, accuracy, got 'f1'"]),
        ("--validation 1", 2, ["validation: must be below 1.0, got '1'"]),
        ("--validation -0.1", 2, ["validation: must be at least 0.0, got '-0.1'"]),
        (
            "--validation 0.1 --dataset three --plugin three.py",
            2,
            ["dataset 'three' has a validation split of"],
        ),
        ("--validation 0.1 --dataset one --plugin three.py", 3, ["dataset 'one': class 'b' has one training sample"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_starts(
    arguments: str, code: int, lines: list[str], own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("three.py").write_text(THREE, encoding="utf-8")
    assert main(["run", *arguments.split()]) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    for line, expected in zip(said, lines, strict=True):
        assert expected in line
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


THREE = """
import torch, zoo

def make(validation, last):
    targets = torch.arange(40) % 2
    targets[1:] *= last
    images = (targets * 200).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8)
    split = (images, targets)
    return zoo.DataSplits(train=split, test=split, class_names=["a", "b"], validation=split if validation else None)

@zoo.dataset(name="three")
def three(*, root):
    return make(True, 1)

@zoo.dataset(name="one")
def one(*, root):
    targets = torch.zeros(40, dtype=torch.int64)
    targets[3] = 1
    images = torch.arange(40).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8)
    return zoo.DataSplits(train=(images, targets), test=(images, targets), class_names=["a", "b"])
"""


def test_what_the_declared_samples_leave_no_room_for_is_told_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files of the data set are not here: had it been loaded, that would be the error."""
    asked = ["--patience", "5", "--schedule", "plateau", "--accumulate", "5000", "--warmup", "99999"]
    nowhere = ["--data-dir", str(tmp_path), "--offline", "--runs-dir", str(tmp_path / "runs")]
    assert main(["run", "--dataset", "fashionmnist", *nowhere, *asked]) == 2
    lines = capsys.readouterr().err.splitlines()
    starts = ("patience: needs", "schedule: needs", "accumulate: must be at most 1875", "warmup: must be less than 3")
    assert len(lines) == len(starts) and all(
        f"Error: {start}" in line for start, line in zip(starts, lines, strict=True)
    )
    assert main(["run", "--dataset", "fashionmnist", *nowhere, "--validation", "0.1", "--monitor", "recall"]) == 2
    assert "must be a score of this run, loss, accuracy, got 'recall'" in capsys.readouterr().err
