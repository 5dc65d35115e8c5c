"""One training with several seeds: a run folder each, mean and spread at the end, and a failure that names its seed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.cli.main import main
from zoo.errors import DivergedError, SettingError
from zoo.records.result import RunResult

SMALL = {"train_size": 64, "test_size": 40}
OPTIONS = ["--dataset-param", "train_size=64", "--dataset-param", "test_size=40", "--epochs", "1"]


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def train(folder: Path, seeds: Any, **arguments: Any) -> list[RunResult]:
    return zoo.run_seeds(seeds, **{"dataset_params": SMALL, "epochs": 1, "runs_dir": folder, **arguments})


def test_each_seed_is_the_run_of_that_seed(tmp_path: Path) -> None:
    told: list[RunResult] = []
    results = train(tmp_path, 3, seed=7, on_run=told.append)
    assert told == results
    assert [result.seed for result in results] == [7, 8, 9]
    assert len({result.run for result in results}) == 3
    for result in results:
        alone = zoo.run(dataset_params=SMALL, epochs=1, runs_dir=tmp_path, seed=result.seed)
        assert alone.metrics == result.metrics
        assert json.loads((result.run / "run.json").read_text())["seed"] == result.seed
    assert [result.seed for result in train(tmp_path, "2")] == [42, 43]


def test_the_summary_is_mean_and_sample_deviation(tmp_path: Path) -> None:
    results = train(tmp_path, 3)
    values = [result.metrics["accuracy"] for result in results]
    mean = sum(values) / 3
    expected = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    found = zoo.summarise_runs(results)
    assert list(found) == ["loss", "accuracy"]
    assert found["accuracy"] == {"mean": pytest.approx(mean), "sd": pytest.approx(expected), "n": 3}
    assert len(set(values)) > 1 and expected > 0
    alone = zoo.summarise_runs(results[:1])["accuracy"]
    assert alone == {"mean": values[0], "sd": None, "n": 1}


@pytest.mark.parametrize("seeds", [0, -1, "x", "", 1.5, True, "1e3", "9" * 30, None])
def test_a_number_of_seeds_that_is_none_is_refused(tmp_path: Path, seeds: Any) -> None:
    with pytest.raises(SettingError, match=r"seeds: (expected|must be) a whole number"):
        train(tmp_path / "runs", seeds)
    assert not (tmp_path / "runs").exists()


def test_every_seed_must_be_one_before_the_first_is_used(tmp_path: Path) -> None:
    with pytest.raises(zoo.UsageError, match="seed: must be below"):
        train(tmp_path / "runs", 2, seed=2**63 - 1)
    with pytest.raises(zoo.UsageError, match="no model named 'baselin'"):
        train(tmp_path / "runs", 2, model="baselin")
    assert not (tmp_path / "runs").exists()


def make_fragile(last: int) -> zoo.Registry:
    """Return a registry with a model that diverges for seeds above `last`."""
    import torch

    class Fragile(torch.nn.Sequential):
        def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(torch.Size(input_shape).numel(), num_classes))
            if torch.initial_seed() > last:
                self[1].weight.data *= 1e38

    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="fragile", factory=Fragile))
    return registry


def test_a_seed_that_diverges_is_named_and_what_is_finished_stays(tmp_path: Path) -> None:
    finished: list[RunResult] = []
    with pytest.raises(DivergedError) as caught:
        train(tmp_path, 4, model="fragile", registry=make_fragile(43), on_run=finished.append)
    text = str(caught.value)
    assert text.startswith("seed 44: the loss became ")
    assert [result.seed for result in finished] == [42, 43]
    assert text.endswith(f"Finished before: seed 42 in {finished[0].run}, seed 43 in {finished[1].run}")
    assert all(result.weights.is_file() for result in finished)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupt_says_what_is_finished(tmp_path: Path) -> None:
    runs: list[RunResult] = []

    def interrupt(epoch: Any) -> None:
        if runs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(tmp_path, 3, on_run=runs.append, on_epoch=interrupt)
    assert caught.value.__notes__[-1] == f"Finished before: seed 42 in {runs[0].run}"


def test_the_command_prints_a_line_a_run_and_the_spread(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    assert main(["run", "--seeds", "3", "--seed", "5", *OPTIONS]) == 0
    *runs, accuracy, loss = capsys.readouterr().out.splitlines()
    values = []
    for seed, line in zip((5, 6, 7), runs, strict=True):
        match = re.fullmatch(rf"seed {seed}: accuracy (0\.\d{{4}}), test loss \d\.\d{{4}}, \d+\.\d\d s, (.*)", line)
        assert match is not None and Path(match[2]).is_file()
        values.append(float(match[1]))
    assert accuracy.startswith(f"accuracy {sum(values) / 3:.4f} ± 0.0") and accuracy.endswith(" over 3 seeds")
    assert re.fullmatch(r"test loss \d\.\d{4} ± \d\.\d{4} over 3 seeds", loss)
    assert main(["run", "--seeds", "1", *OPTIONS]) == 0
    assert re.fullmatch(r"accuracy 0\.\d{4} of one seed", capsys.readouterr().out.splitlines()[1])


def test_with_json_the_command_prints_one_object(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    assert main(["run", "--seeds", "2", "--json", *OPTIONS]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"runs", "summary"}
    assert [run["seed"] for run in printed["runs"]] == [42, 43]
    results = zoo.run_seeds(2, dataset_params=SMALL, epochs=1)
    assert printed["summary"] == zoo.summarise_runs(results)
    assert set(printed["runs"][0]) == set(results[0].to_dict())
    assert main(["run", "--seeds", "0", "--json"]) == 2
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["error"]["exit"] == 2
