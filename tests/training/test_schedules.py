"""Optimizers, schedules, clips, accumulation, label smoothing, memory formats: each gives what one writes by hand."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import zoo
from zoo.cli.main import main
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.models.device import use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import DEFAULT_LR, TrainConfig, resolve_config
from zoo.registry.specs import SPEC_ATTRIBUTE
from zoo.training.optimizers import OPTIMIZERS, build_optimizer
from zoo.training.schedules import build_schedule
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")
SMALL = {"train_size": 200, "test_size": 50}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    with use_threads(1):
        yield


def draw(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 1, 3, 4, generator=generator), torch.randint(5, (samples,), generator=generator)


def make_batches(samples: int, size: int, seed: int | None = 42) -> TensorBatches:
    settings = BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed)
    return TensorBatches(*draw(samples), Preprocess(), settings)


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 5))


def train(samples: int = 93, size: int = 10, **settings: Any) -> tuple[nn.Sequential, list[float]]:
    """Train as zoo does; return the model and the training loss of each epoch."""
    model = build()
    config = TrainConfig(**{"epochs": 3, "batch_size": size, **settings})
    history = Trainer(model, config, CPU).fit(make_batches(samples, size), make_batches(20, 20, None))
    return model, [epoch["train"]["loss"] for epoch in history]


def train_by_hand(
    make_optimizer: Callable[..., torch.optim.Optimizer],
    make_schedule: Callable[..., Any] | None = None,
    *,
    clip: float = 0.0,
    clip_value: float = 0.0,
    accumulate: int = 1,
    smoothing: float = 0.0,
) -> tuple[nn.Sequential, list[float]]:
    """Train 93 samples in batches of 10 for three epochs, written with plain torch."""
    model, losses = build(), []
    optimizer = make_optimizer(model.parameters())
    schedule = make_schedule(optimizer) if make_schedule else None
    for epoch in range(3):
        total = 0.0
        waiting = list(make_batches(93, 10).epoch(epoch))
        while waiting:
            group, waiting = waiting[:accumulate], waiting[accumulate:]
            optimizer.zero_grad()
            for inputs, targets in group:
                loss = nn.functional.cross_entropy(model(inputs), targets, label_smoothing=smoothing)
                (loss * len(targets) if accumulate > 1 else loss).backward()
                total += loss.item() * len(targets)
            if accumulate > 1:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad /= sum(len(targets) for _, targets in group)
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            if clip_value:
                nn.utils.clip_grad_value_(model.parameters(), clip_value)
            optimizer.step()
            if schedule:
                schedule.step()
        losses.append(total / 93)
    return model, losses


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def warm_cosine(optimizer: torch.optim.Optimizer) -> Any:
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)
    return lr_scheduler.SequentialLR(optimizer, [rise, lr_scheduler.CosineAnnealingLR(optimizer, 25)], [5])


BY_HAND: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cosine": ({"schedule": "cosine"}, {"make_schedule": lambda o: lr_scheduler.CosineAnnealingLR(o, 30)}),
    "linear": ({"schedule": "linear"}, {"make_schedule": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 30)}),
    "one-cycle": ({"schedule": "one-cycle"}, {"make_schedule": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 31)}),
    "step": (
        {"schedule": "step", "gamma": 0.5, "step_epochs": 2},
        {"make_schedule": lambda o: lr_scheduler.StepLR(o, 20, 0.5)},
    ),
    "exponential": (
        {"schedule": "exponential", "gamma": 0.5},
        {"make_schedule": lambda o: lr_scheduler.ExponentialLR(o, 0.5 ** (1 / 10))},
    ),
    "warm-up": ({"warmup": 4}, {"make_schedule": lambda o: lr_scheduler.LinearLR(o, 1 / 5, total_iters=4)}),
    "warm-up, then cosine": ({"schedule": "cosine", "warmup": 5}, {"make_schedule": warm_cosine}),
    "clip": ({"clip": 0.3}, {"clip": 0.3}),
    "clip value": ({"clip_value": 0.01}, {"clip_value": 0.01}),
    "accumulate": ({"accumulate": 4}, {"accumulate": 4}),
    "label smoothing": ({"label_smoothing": 0.2}, {"smoothing": 0.2}),
    "schedule, clip and accumulate": (
        {"schedule": "cosine", "clip": 0.3, "accumulate": 4, "label_smoothing": 0.1},
        {
            "make_schedule": lambda o: lr_scheduler.CosineAnnealingLR(o, 9),
            **{"clip": 0.3, "accumulate": 4, "smoothing": 0.1},
        },
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_setting_gives_the_bits_of_the_loop_one_writes_by_hand(name: str) -> None:
    settings, options = BY_HAND[name]
    expected, expected_losses = train_by_hand(sgd, **options)
    model, losses = train(**settings)
    assert losses == expected_losses
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert losses != train()[1], "the setting does nothing"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_is_that_of_torch_with_its_rate(name: str) -> None:
    decay = {} if name == "rprop" else {"weight_decay": 0.01}
    all_alike = {} if name == "rprop" else {"decay_all": True}
    theirs = next(kind for kind in vars(torch.optim).values() if getattr(kind, "__name__", "").lower() == name)
    made = []
    expected, expected_losses = train_by_hand(
        lambda p: made.append(theirs(p, lr=DEFAULT_LR[name], foreach=False, **decay)) or made[0]
    )
    model, losses = train(optimizer=name, **decay, **all_alike)
    assert losses == expected_losses
    assert all(map(torch.equal, model.parameters(), expected.parameters()))
    if name != "sgd":
        assert DEFAULT_LR[name] == inspect.signature(theirs).parameters["lr"].default
    # A checkpoint is that of torch's class: each goes on from the other's.
    optimizer = build_optimizer(model, TrainConfig(optimizer=name, **decay, **all_alike))
    known = copy.deepcopy(made[0].state_dict())
    optimizer.load_state_dict(known)
    told = copy.deepcopy(optimizer.state_dict())
    assert told["param_groups"] == known["param_groups"] and str(told["state"]) == str(known["state"])
    assert repr(optimizer) == repr(made[0]) and type(optimizer) is not theirs and isinstance(optimizer, theirs)
    made[0].load_state_dict(told)
    for parameters in (model.parameters(), expected.parameters()):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step(), made[0].step()
    assert all(map(torch.equal, model.parameters(), expected.parameters()))


def test_every_optimizer_of_torch_for_all_parameters_has_a_name() -> None:
    kinds = {kind for kind in vars(torch.optim).values() if isinstance(kind, type)}
    known = {kind for kind in kinds if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer}
    # One needs a closure, one sparse gradients, one takes matrices only.
    left_out = {torch.optim.LBFGS, torch.optim.SparseAdam, getattr(torch.optim, "Muon", None)}
    found = {next(base for base in kind.__mro__ if base in kinds) for kind in OPTIMIZERS.values()}
    assert found == known - left_out
    assert OPTIMIZERS.keys() == DEFAULT_LR.keys()


def list_rates(epochs: int = 4, batches: int = 10, **settings: Any) -> list[float]:
    config = resolve_config({}, {"epochs": epochs, "lr": 1.0, **settings})
    optimizer = build_optimizer(build(), config)
    schedule = build_schedule(optimizer, config, batches)
    rates = []
    for _ in range(epochs * -(-batches // config.accumulate)):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return rates


def test_rates_follow_their_formulas() -> None:
    assert list_rates() == [1.0] * 40
    assert list_rates(schedule="linear") == pytest.approx([1 - step / 40 for step in range(40)])
    cosine = [(1 + math.cos(math.pi * step / 40)) / 2 for step in range(40)]
    assert list_rates(schedule="cosine") == pytest.approx(cosine)
    assert list_rates(schedule="step", gamma=0.1, step_epochs=2) == pytest.approx([1.0] * 20 + [0.1] * 20)
    exponential = list_rates(schedule="exponential", gamma=0.5)
    assert exponential[::10] == pytest.approx([1, 0.5, 0.25, 0.125])
    warm = list_rates(schedule="cosine", warmup=4)
    assert warm[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]) and warm[-1] < 0.01
    cycle = list_rates(schedule="one-cycle")
    assert max(cycle) == pytest.approx(1.0, abs=0.01) and cycle[0] == pytest.approx(1 / 25) and cycle[-1] < 0.01
    assert len(list_rates(schedule="linear", accumulate=4)) == 12
    assert list_rates(schedule="linear", accumulate=4)[-1] == pytest.approx(1 / 12)


def test_accumulated_batches_give_the_numbers_of_the_large_batch() -> None:
    large, losses = train(samples=90, size=30)
    small, accumulated = train(samples=90, size=10, accumulate=3)
    assert accumulated == pytest.approx(losses, abs=1e-6)
    for ours, theirs in zip(small.parameters(), large.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_channels_last_is_how_kernels_lie_and_not_what_is_learned(tmp_path: Path) -> None:
    where = {"dataset_params": SMALL, "epochs": 1, "runs_dir": tmp_path, "threads": 1}
    plain = zoo.run("tinyvgg", "shapes", **where)
    seen = []

    class Watched(nn.Conv2d):
        def forward(self, inputs: Tensor) -> Tensor:
            if self.training and self.in_channels > 1:  # a single channel lies the same in both ways
                seen.append(self.weight.is_contiguous(memory_format=torch.channels_last))
            return super().forward(inputs)

    @zoo.model(name="watched")
    def watched(*, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return nn.Sequential(Watched(1, 4, 3), nn.ReLU(), Watched(4, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes))

    registry = zoo.Registry.discover()
    registry.add(*getattr(watched, SPEC_ATTRIBUTE))
    zoo.run("local/watched", "shapes", memory_format="channels_last", registry=registry, **where)
    last = zoo.run("tinyvgg", "shapes", memory_format="channels_last", **where)
    assert seen and seen[-1], "the kernels do not lie with the channels last"
    assert last.metrics["loss"] == pytest.approx(plain.metrics["loss"], abs=1e-3)
    assert last.train_config["memory_format"] == "channels_last" and zoo.verify(last.weights).checks["golden samples"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "--accumulate 9 --warmup 99",
            ["accumulate: must be at most 7, the batches of an epoch, got 9", "warmup: must"],
        ),
        ("--schedule one-cycle --warmup 4", ["warmup: is no setting of one-cycle, got '4'"]),
        ("--gamma 0.3", ["gamma: is no setting of constant, got '0.3'"]),
        ("--schedule cosine --step-epochs 2", ["step_epochs: is a setting of step, not of cosine, got '2'"]),
        ("--optimizer rprop --weight-decay 0.1", ["weight_decay: is no setting of rprop, got '0.1'"]),
        ("--clip 0 --clip-value -1", ["clip: must be above 0.0, got '0'", "clip_value: must be above 0.0, got '-1'"]),
        ("--label-smoothing 1", ["label_smoothing: must be below 1.0, got '1'"]),
        ("--schedule cosin", ["schedule: must be one of 'constant', 'cosine', 'linear', 'one-cycle', 'step', 'ex"]),
        ("--warmup 21", ["warmup: must be less than 21, the steps of the training, got 21"]),
        ("--accumulate 0", ["accumulate: must be at least 1, got '0'"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_starts(
    arguments: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--dataset-param", "train_size=200", "--dataset-param", "test_size=50"]
    assert main(["run", *sizes, "--runs-dir", str(tmp_path), *arguments.split()]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(f"Error: {expected}")
    assert not list(tmp_path.iterdir())
