"""The moving average of the weights: what it is, and that it is what is evaluated, chosen and kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import zoo
from zoo.cli.main import main
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.models.device import use_seed, use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.registry.specs import SPEC_ATTRIBUTE
from zoo.training.average import Average
from zoo.training.predictions import read_outcomes
from zoo.training.trainer import Trainer, evaluate

CPU = torch.device("cpu")
DECAY = 0.9
SMALL = {"train_size": 400, "test_size": 100}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    with use_threads(1):
        yield


def make_batches(samples: int, size: int, seed: int | None = 42) -> TensorBatches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 1, 3, 4, generator=generator)
    targets = torch.randint(5, (samples,), generator=generator)
    return TensorBatches(images, targets, Preprocess(), BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed))


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 5))


def train_by_hand(accumulate: int = 1) -> tuple[nn.Sequential, dict[str, Tensor], list[dict[str, float]]]:
    """Train 93 samples for three epochs with plain torch; return the model, its average and the scores of each epoch.

    The average is computed as its formula says, tensor by tensor.
    """
    model, average, scores = build(), dict[str, Tensor](), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin = build()
    with use_seed(7):
        for epoch in range(3):
            model.train()
            waiting = list(make_batches(93, 10).epoch(epoch))
            while waiting:
                group, waiting = waiting[:accumulate], waiting[accumulate:]
                optimizer.zero_grad()
                for inputs, targets in group:
                    loss = nn.functional.cross_entropy(model(inputs), targets)
                    (loss * len(targets) if accumulate > 1 else loss).backward()
                if accumulate > 1:
                    for parameter in model.parameters():
                        assert parameter.grad is not None
                        parameter.grad /= sum(len(targets) for _, targets in group)
                optimizer.step()
                for name, value in model.state_dict().items():
                    if name not in average or not value.is_floating_point():
                        average[name] = value.clone()
                    else:
                        average[name] = average[name].lerp(value, 1 - DECAY)
            twin.load_state_dict(average)
            scores.append(evaluate(twin, make_batches(20, 20, None), {}))
    return model, average, scores


@pytest.mark.parametrize("accumulate", [1, 4])
def test_it_has_the_bits_of_its_formula_and_is_what_is_evaluated(accumulate: int) -> None:
    model, average, scores = train_by_hand(accumulate)
    trainer = Trainer(build(), TrainConfig(batch_size=10, ema=DECAY, accumulate=accumulate), CPU)
    with use_seed(7):
        history = trainer.fit(make_batches(93, 10), make_batches(20, 20, None))
    assert [epoch["test"] for epoch in history] == scores
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in trainer.model.state_dict().items())
    found = trainer.evaluated.state_dict()
    assert list(found) == list(average), "the names are those of the model"
    assert all(torch.equal(value, average[name]) for name, value in found.items())
    assert not torch.equal(found["1.weight"], model.state_dict()["1.weight"])
    assert not torch.equal(found["2.running_mean"], model.state_dict()["2.running_mean"])


def test_it_is_that_of_torch() -> None:
    model = build()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
    ours = Average(model, DECAY)
    for step in range(5):
        with torch.no_grad():
            for value in (*model.parameters(), model[2].running_mean, model[2].running_var):
                value.add_(torch.rand(value.shape, generator=torch.Generator().manual_seed(step)))
        theirs.update_parameters(model)
        ours.update()
    for name, value in theirs.module.state_dict().items():
        assert torch.equal(ours.module.state_dict()[name], value), name


def test_buffers_that_are_no_running_statistics_stay_what_they_are() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
            self.register_buffer("index", torch.tensor([5, 1000]))
            self.register_buffer("seen", torch.tensor(0))

    model = Masked()
    average = Average(model, 0.999)
    for _ in range(50):
        model.seen += 1
        average.update()
    kept = average.module.state_dict()
    assert kept["mask"].tolist() == [0.0, -torch.inf] and kept["index"].tolist() == [5, 1000] and kept["seen"] == 50


def test_all_that_is_kept_of_a_run_is_of_the_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [f"--dataset-param={name}={size}" for name, size in SMALL.items()]
    arguments = ["run", *sizes, "--epochs", "3", "--ema", "0.8", "--validation", "0.25", "--lr", "0.6"]
    assert main([*arguments, "--runs-dir", str(tmp_path), "--threads", "1"]) == 0
    assert "\nscores and weights are of the moving average of the weights, decay 0.8\n" in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "run.json").read_text())
    plain = zoo.run(dataset_params=SMALL, validation=0.25, lr=0.6, epochs=3, runs_dir=tmp_path / "plain", threads=1)
    # The same training, so its loss is the same; all else is of the average.
    assert [epoch["train"] for epoch in record["history"]] == [epoch["train"] for epoch in plain.history]
    assert all(
        one["validation"] != other["validation"] for one, other in zip(record["history"], plain.history, strict=True)
    )
    evaluated = zoo.evaluate(folder, threads=1)
    assert evaluated.metrics == record["metrics"] != plain.metrics
    assert (
        evaluated.outcomes.predictions.tolist()
        == read_outcomes(folder / "predictions.safetensors").predictions.tolist()
    )
    assert zoo.verify(folder).checks["golden samples"]
    for name in ("weights.safetensors", "last.safetensors"):
        ours, theirs = load_file(folder / name), load_file(plain.run / name)
        assert ours.keys() == theirs.keys() and not any(torch.equal(ours[key], theirs[key]) for key in ours)
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "  averaged        a moving average of the weights of the training, decay 0.8\n" in shown
    assert re.search(r"repeat with .* --ema 0\.8 ", shown)


def test_the_weights_are_the_average_as_it_was_after_the_best_epoch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset_params": SMALL, "validation": 0.25, "lr": 0.7, "ema": 0.5, "threads": 1}
    run = zoo.run(epochs=8, monitor="accuracy", runs_dir=tmp_path, **settings)
    chosen = run.best["epoch"]
    assert chosen < 8, "this training is to have its best epoch before its last"
    shorter = zoo.run(epochs=chosen, runs_dir=tmp_path, **settings)
    best, expected = load_file(run.weights), load_file(shorter.run / "last.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in best.items())
    assert zoo.evaluate(run.weights, threads=1).metrics == run.metrics


class Stopping(nn.Module):
    """Interrupts the training after so many forward passes."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.passes = passes

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes -= self.training
        if self.passes < 0:
            raise KeyboardInterrupt
        return inputs


@zoo.model(name="stopping")
def stopping(*, input_shape: tuple[int, ...], num_classes: int, passes: int = 1000) -> nn.Module:
    size = input_shape[0] * input_shape[1] * input_shape[2]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes), Stopping(passes)
    )


@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_an_interrupt_keeps_the_average_of_a_finished_epoch(tmp_path: Path, validation: float) -> None:
    registry = zoo.Registry.discover()
    registry.add(*getattr(stopping, SPEC_ATTRIBUTE))
    settings: dict[str, Any] = {"dataset_params": SMALL, "ema": 0.8, "threads": 1, "registry": registry}
    settings |= {"validation": validation, "lr": 0.01}
    names = "local/stopping", "shapes"
    whole = zoo.run(*names, epochs=2, runs_dir=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        zoo.run(*names, epochs=5, runs_dir=tmp_path / "stopped", params={"passes": 32}, **settings)
    (folder,) = (tmp_path / "stopped").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], len(record["history"])) == ("interrupted", 3 if validation else 2)
    if not validation:
        kept, expected = load_file(folder / "weights.safetensors"), load_file(whole.weights)
        assert all(torch.equal(kept[name], value) for name, value in expected.items())
    split = "validation" if validation else "test"
    scores = record["validation" if validation else "metrics"]
    assert scores == record["history"][(record["best"]["epoch"] if validation else 2) - 1][split]
    if not validation:
        assert zoo.evaluate(folder, registry=registry, threads=1).metrics == scores


@pytest.mark.parametrize(("value", "said"), [("0", "must be above 0.0, got '0'"), ("1", "must be below 1.0, got '1'")])
def test_a_decay_lies_between_0_and_1(value: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ema", value]) == 2
    assert capsys.readouterr().err == f"Error: ema: {said}\n"
