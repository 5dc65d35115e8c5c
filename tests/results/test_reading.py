"""What is known of trained weights: names, records, outcomes that belong to them, and the samples they are about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

import zoo
from zoo.errors import DataError, UsageError, WeightsError
from zoo.records.result import RunResult
from zoo.training.confusion import list_confusions
from zoo.training.predictions import read_outcomes

SMALL = {"train_size": 64, "test_size": 40}
FILES = ["history.csv", "predictions.safetensors", "run.json", "weights.safetensors"]


def make_run(folder: Path, **arguments: Any) -> RunResult:
    return zoo.run(**{"dataset_params": SMALL, "epochs": 1, "runs_dir": folder, **arguments})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunResult]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_run(folder, seed=seed, model=model) for seed, model in ((1, "baseline"), (2, "baseline"), (3, "relu-mlp"))
    ]


@pytest.fixture
def copy(runs: list[RunResult], tmp_path: Path) -> Path:
    """Return a copy of the folder of the first run."""
    return Path(shutil.copytree(runs[0].run, tmp_path / "copy"))


def read(*references: Any, **options: Any) -> list[zoo.Result]:
    return zoo.read_results(references, **options)


def same(left: zoo.Outcomes, right: zoo.Outcomes) -> bool:
    fields = ("targets", "predictions", "target_probabilities", "probabilities")
    return left.facts == right.facts and all(torch.equal(getattr(left, f), getattr(right, f)) for f in fields)


def test_a_run_keeps_what_it_predicted(runs: list[RunResult]) -> None:
    for run in runs:
        assert sorted(path.name for path in run.run.iterdir()) == FILES
        outcomes = read_outcomes(run.run / "predictions.safetensors")
        assert outcomes.accuracy == run.metrics["accuracy"]
        record = json.loads((run.run / "run.json").read_text())
        assert record["confusion"] == outcomes.matrix.tolist()
        evaluation = zoo.evaluate(run.weights)
        assert same(evaluation.outcomes, outcomes)
        assert record["per_class"] == evaluation.to_dict()["per_class"]
        assert [score["support"] for score in record["per_class"]] == outcomes.matrix.sum(1).tolist()
        assert outcomes.facts["digest"] == record["dataset"]["digest"]


def test_a_run_without_epochs_keeps_them_too(tmp_path: Path) -> None:
    run = make_run(tmp_path, epochs=0)
    (result,) = read(run.run)
    assert result.outcomes is not None and result.outcomes.accuracy == run.metrics["accuracy"]
    assert len(result.outcomes.targets) == 40


def test_the_record_keeps_a_matrix_readable(runs: list[RunResult]) -> None:
    text = (runs[0].run / "run.json").read_text()
    row = json.loads(text)["confusion"][0]
    assert f"    {json.dumps(row)},\n" in text


def test_results_say_what_the_run_said(runs: list[RunResult]) -> None:
    for result, run in zip(read(*(run.run for run in runs)), runs, strict=True):
        assert (result.weights, result.run) == (run.weights, run.run)
        assert result.record is not None and result.record["history"] == run.history
        assert result.metadata["seed"] == run.seed
        assert result.outcomes is not None and result.outcomes.accuracy == run.metrics["accuracy"]
    (result,) = read("@last", runs_dir=runs[0].run.parent, outcomes=False)
    assert result.run == runs[-1].run and result.outcomes is None


def test_every_name_is_another(runs: list[RunResult], tmp_path: Path) -> None:
    one, other, mlp = (run.run for run in runs)
    assert [result.name for result in read(one, mlp)] == ["baseline@shapes", "relu-mlp@shapes"]
    seeds = ["baseline@shapes, seed 1", "baseline@shapes, seed 2"]
    assert [result.name for result in read(one, other, mlp)] == [*seeds, "relu-mlp@shapes"]
    file = shutil.copy(runs[0].weights, tmp_path / "mine.safetensors")
    names = [result.name for result in read(one, one, one, file, file)]
    assert names == [one.name, f"{one.name} (2)", f"{one.name} (3)", "mine", "mine (2)"]


def test_settings_tell_results_apart_before_folders_do(runs: list[RunResult], tmp_path: Path) -> None:
    slow = [make_run(tmp_path, seed=seed, lr=0.01) for seed in (1, 2)]
    wide = make_run(tmp_path, seed=1, params={"hidden_units": 12}, dataset_params={**SMALL, "test_size": 30})
    facts = "hidden_units=10, dataset test_size=40"
    names = [result.name for result in read(runs[0].run, *(run.run for run in slow), wide.run)]
    assert names == [
        f"baseline@shapes ({facts}, lr=0.1), seed 1",
        f"baseline@shapes ({facts}, lr=0.01), seed 1",
        f"baseline@shapes ({facts}, lr=0.01), seed 2",
        "baseline@shapes (hidden_units=12, dataset test_size=30, lr=0.1), seed 1",
    ]
    # What takes more letters than anybody reads is told by the folder.
    long = make_run(tmp_path, model="tinyvgg", optimizer="adam", weight_decay=0.0001)
    other = make_run(tmp_path, model="tinyvgg", params={"hidden_units": 3}, batch_size=16, dataset_params={})
    assert [result.name for result in read(long.run, other.run)] == [long.run.name, other.run.name]


def test_outcomes_are_computed_where_none_are_kept(runs: list[RunResult], copy: Path, tmp_path: Path) -> None:
    (kept,) = read(runs[0].run)
    (copy / "predictions.safetensors").unlink()
    file = shutil.copy(runs[0].weights, tmp_path / "alone.safetensors")
    for result in read(copy, file):
        assert same(result.outcomes, kept.outcomes)
    (alone,) = read(file)
    assert alone.run is None and alone.record is None


def test_outcomes_of_other_weights_are_not_taken(runs: list[RunResult], copy: Path) -> None:
    shutil.copy(runs[1].weights, copy / "weights.safetensors")
    (result,) = read(copy)
    assert result.outcomes is not None and result.outcomes.accuracy == runs[1].metrics["accuracy"]
    assert same(result.outcomes, read(runs[1].run)[0].outcomes)


def test_damaged_outcomes_are_named_and_not_passed_over(copy: Path) -> None:
    path = copy / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"predictions\.safetensors is incomplete"):
        read(copy)
    assert read(copy, outcomes=False)[0].outcomes is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("[", "JSONDecodeError"),
        ("[" * 100_000, "it nests deeper than 32 levels"),
        ("[1]", "expected a table, got [1]"),
        ({"history": 3}, "history: expected a list of epochs, got 3"),
        ({"history": [{"epoch": 1}]}, "history: expected a list of epochs"),
        ({"history": [{"epoch": 1, "train": {}, "test": {"loss": "<b>"}, "seconds": {}}]}, "history: expected"),
        ({"metrics": {"accuracy": "high"}}, "metrics: expected a table of numbers"),
        ({"dataset": "shapes"}, "dataset: expected a table with a name"),
        ({"seed": True}, "seed: expected a whole number, got True"),
        ({"seconds": None}, "seconds: expected a number, got None"),
        ({"started": 7}, "started: expected text, got 7"),
    ],
    ids=range(11),
)
def test_a_record_that_is_none_is_refused(copy: Path, change: Any, text: str) -> None:
    path = copy / "run.json"
    record = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps({**record, **change}))
    with pytest.raises(WeightsError, match=r"run\.json cannot be used as the record of a run") as caught:
        read(copy)
    assert text in str(caught.value) and str(caught.value).isprintable()


def test_samples_are_the_raw_images_of_the_test_split(runs: list[RunResult]) -> None:
    from zoo_plugins.datasets.shapes import shapes

    images, targets = shapes(root=".", **SMALL).test
    (result,) = read(runs[0].run)
    assert result.outcomes is not None and torch.equal(result.outcomes.targets, targets)
    found = zoo.read_samples(result, [39, 0, 7])
    assert all(torch.equal(image, images[index]) for image, index in zip(found, (39, 0, 7), strict=True))
    assert zoo.read_samples(result, []) == []
    for index in (40, -1):
        with pytest.raises(UsageError, match=f"no sample {index}: expected 0 to 39"):
            zoo.read_samples(result, [0, index])


class Pictures(Dataset[Any]):
    """Images of PIL, as a Dataset gives them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index, 0].numpy()), index % 2


def own_registry(images: Tensor, *, as_dataset: bool) -> zoo.Registry:
    def pictures(*, root: Path) -> zoo.DataSplits:
        pair = images, torch.arange(len(images)) % 2
        split = Pictures(images) if as_dataset else pair
        return zoo.DataSplits(train=split, test=split, class_names=("even", "odd"))

    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="pictures", factory=pictures))
    return registry


@pytest.mark.parametrize("as_dataset", [True, False])
def test_samples_of_any_form_of_a_split(tmp_path: Path, as_dataset: bool) -> None:
    images = torch.randint(256, (12, 1, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    registry = own_registry(images, as_dataset=as_dataset)
    run = zoo.run("baseline", "pictures", registry=registry, epochs=1, runs_dir=tmp_path)
    (result,) = read(run.run, registry=registry)
    assert result.outcomes is not None and (result.outcomes.facts["digest"] is None) == as_dataset
    found = zoo.read_samples(result, [11, 3], registry=registry)
    assert torch.equal(torch.stack(found), images[[11, 3]])
    # Other data under the same name: other images must not stand beside these predictions.
    other = own_registry(images.flip(0), as_dataset=False)
    if as_dataset:
        assert torch.equal(zoo.read_samples(result, [0], registry=other)[0], images[11]), "its content is not known"
    else:
        with pytest.raises(DataError, match="'pictures' is not the one of the predictions of baseline@pictures"):
            zoo.read_samples(result, [0], registry=other)


@pytest.mark.slow
def test_fashionmnist_confuses_shirts(fashionmnist_root: Path, tmp_path: Path) -> None:
    run = zoo.run("baseline", "fashionmnist", data_dir=fashionmnist_root, runs_dir=tmp_path)
    matrix = torch.tensor(json.loads((run.run / "run.json").read_text())["confusion"])
    assert (int(matrix.sum()), int(matrix.trace())) == (10_000, 8341)
    (result,) = read(run.run)
    assert result.outcomes is not None and torch.equal(result.outcomes.matrix, matrix)
    confused = [pair[:2] for pair in list_confusions(matrix, result.outcomes.class_names)]
    assert ("Shirt", "T-shirt/top") in confused[:2]
    hard = min(zoo.evaluate(run.run, data_dir=fashionmnist_root).per_class, key=lambda score: score.recall)
    assert hard.name == "Shirt" and hard.support == 1000
