"""The state of a trainer: another one that loads it goes on with the same bits, whatever the settings ask for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.errors import DivergedError, UsageError
from zoo.models.device import read_generators, use_seed, use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training import collapse, step
from zoo.training.choice import Choice
from zoo.training.optimizers import OPTIMIZERS
from zoo.training.state import read_state
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with use_threads(1), use_seed(3):
        yield


class Noisy(nn.Module):
    """Draws from every generator that a plugin may use."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 0.01 * (random.random() + float(numpy.random.rand())) if self.training else inputs


def build(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), Noisy(), nn.ReLU(), nn.Linear(8, 5))
    )


def make_batches(samples: int, size: int, seed: int | None = 42) -> TensorBatches:
    generator = torch.Generator().manual_seed(samples)
    images = torch.randn(samples, 1, 3, 4, generator=generator)
    targets = torch.randint(5, (samples,), generator=generator)
    return TensorBatches(images, targets, Preprocess(), BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed))


def drop_seconds(history: list[Any]) -> list[Any]:
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def choose(settings: Mapping[str, Any]) -> Choice | None:
    return Choice("loss", False, settings["patience"]) if "patience" in settings else None


class Whole:
    """A training from start to end, with its state after the second epoch."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.choice = settings, choose(settings)
        self.config = TrainConfig(**{"batch_size": 10, "epochs": 4, **settings})
        self.state: dict[str, Any] = {}
        self.trainer = Trainer(build(), self.config, CPU, on_epoch=self.keep)
        self.trainer.fit(make_batches(93, 10), make_batches(40, 20, None), self.choice)

    def keep(self, epoch: Any) -> None:
        if epoch["epoch"] == 2:
            self.state = self.trainer.state()

    def go_on(self) -> tuple[Trainer, Choice | None]:
        """Return a trainer of another model that has loaded the state and gone on, with what chose its epoch."""
        trainer, choice = Trainer(build(seed=9), self.config, CPU), choose(self.settings)
        trainer.load_state(self.state)
        trainer.fit(make_batches(93, 10), make_batches(40, 20, None), choice)
        return trainer, choice


ALL: dict[str, Any] = {"schedule": "cosine", "warmup": 3, "momentum": 0.9, "ema": 0.9, "accumulate": 3, "clip": 1.0}
SETTINGS: list[dict[str, Any]] = [
    {},
    {**ALL, "patience": 3},
    {**ALL, "patience": 1, "lr": 3.0, "epochs": 9},
    {**ALL, "precision": "fp16", "patience": 2, "label_smoothing": 0.1},
    {"schedule": "one-cycle", "momentum": 0.9},
    {"precision": "bf16", "schedule": "step", "step_epochs": 2, "ema": 0.5},
    *({"optimizer": name, "schedule": "exponential", "accumulate": 2} for name in OPTIMIZERS if name != "sgd"),
]


@pytest.mark.promise("P2")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_training_goes_on_with_the_same_bits(settings: dict[str, Any]) -> None:
    whole = Whole(**settings)
    assert len(whole.trainer.history) > 2
    trainer, choice = whole.go_on()
    assert drop_seconds(trainer.history) == drop_seconds(whole.trainer.history)
    assert trainer.history[:2] == whole.trainer.history[:2]
    assert choice == whole.choice and vars(choice or object) == vars(whole.choice or object)
    compare(trainer, whole.trainer)
    # A state is a copy: neither training has changed it, so it can be loaded once more.
    compare(whole.go_on()[0], whole.trainer)
    assert trainer.restore() == whole.trainer.restore() is True
    compare(trainer, whole.trainer)


def compare(one: Trainer, other: Trainer) -> None:
    for ours, theirs in ((one.model, other.model), (one.evaluated, other.evaluated)):
        assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    assert list_leaves(one.state(), "history") == list_leaves(other.state(), "history")


def list_leaves(state: Any, *without: str) -> list[Any]:
    """Return all values of a state, tensors as lists."""
    if isinstance(state, dict):
        return [leaf for name, each in state.items() if name not in without for leaf in (name, *list_leaves(each))]
    if isinstance(state, list | tuple):
        return [leaf for each in state for leaf in list_leaves(each)]
    return [state.dtype, state.tolist()] if isinstance(state, Tensor) else [state]


class Halving(nn.Linear):
    """Writes into its weights where a batch is not full."""

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) != 10:
            with torch.no_grad():
                self.weight.mul_(0.5)
        return super().forward(inputs)


class LateCopier(Executor):
    """Copies as late as a thread may: when the training waits for it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.left: list[int] = []

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        self.asked.append((Future(), lambda: call(*arguments)))
        self.left.append(len(arguments[0]))
        return self.asked[-1][0]

    def copy(self, _: Any = None) -> None:
        for future, call in self.asked:
            future.set_result(call())
        self.asked = []


@pytest.mark.promise("P2")
@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {**ALL, "patience": 3}], ids=str)
def test_what_is_copied_while_the_training_goes_on_is_what_it_was(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of epochs that are replayed, the last batch of which is not: it writes into a parameter.

    So does what is called at the end of an epoch.
    """
    layers = [nn.Flatten(), Halving(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 5)]
    copier, states = LateCopier(), list[tuple[Any, Any]]()
    monkeypatch.setattr(step, "wait", copier.copy)

    def look() -> None:
        if trainer.is_between_steps:
            states.append((read_state(trainer), read_state(trainer, None, copier)))

    def end_epoch(_: Any) -> None:
        look()
        with torch.no_grad():
            layers[-1].get_parameter("bias").add_(1)

    config = TrainConfig(batch_size=10, epochs=4, **settings)
    trainer = Trainer(nn.Sequential(*layers), config, CPU, capture=True, after=look, on_epoch=end_epoch)
    trainer.fit(make_batches(603, 10), make_batches(40, 20, None), choose(settings))
    copier.copy()
    steps = 61 // config.accumulate
    assert len(states) >= 4 * steps and len(copier.left) >= 4 * (steps - 3)
    assert min(copier.left) > sum(1 for _ in trainer.model.parameters())
    for at_once, later in states:
        assert list_leaves(at_once) == list_leaves(later)


@pytest.mark.promise("P3")
def test_a_state_is_tensors_and_plain_data() -> None:
    state = Whole(**ALL, patience=3).state

    def strip(part: Any) -> Any:
        if isinstance(part, dict):
            assert type(part) is dict
            return {str(name): strip(each) for name, each in part.items()}
        if isinstance(part, list | tuple):
            return [strip(each) for each in part]
        if isinstance(part, Tensor):
            assert part.device == CPU and not part.requires_grad
            return "tensor"
        return part

    assert json.loads(json.dumps(strip(state))).keys() == state.keys()
    assert state["parts"].keys() == {"model", "optimizer", "schedule", "average"}
    assert state["parts"]["average"]["n_averaged"] == state["parts"]["schedule"]["each_step"]["last_epoch"] == 8


def test_that_it_was_stuck_at_chance_belongs_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of 0 at a tiny rate: seen after epoch 1, and again after epoch 2, where the settings say to stop."""
    monkeypatch.setattr(collapse, "PATIENCE", 10)
    config, states = TrainConfig(epochs=4, batch_size=10, lr=1e-9, on_collapse="stop"), list[Any]()

    def go_on(state: Any = None) -> Trainer:
        model = build()
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        trainer = Trainer(model, config, CPU)
        trainer.on_epoch = lambda _: states.append(trainer.state())
        if state is not None:
            trainer.load_state(state)
        with pytest.raises(DivergedError, match="stuck at chance after 2 epochs"):
            trainer.fit(make_batches(93, 10), make_batches(40, 20, None))
        return trainer

    whole, again = go_on(), go_on(states[0])
    assert len(whole.history) == len(again.history) == 2
    assert [state["stuck"] for state in states] == [1, 2, 2]


@pytest.mark.promise("P2")
def test_the_generators_belong_to_it() -> None:
    whole = Whole()
    with use_seed(99):
        others = read_generators()
    for name in ("torch", "python", "numpy"):
        trainer = Trainer(build(), whole.config, CPU)
        trainer.load_state({**whole.state, "generators": {**whole.state["generators"], name: others[name]}})
        trainer.fit(make_batches(93, 10), make_batches(40, 20, None))
        assert drop_seconds(trainer.history) != drop_seconds(whole.trainer.history), name


@pytest.mark.promise("P2")
def test_a_state_of_other_settings_or_batches_is_refused() -> None:
    whole = Whole(ema=0.9)
    with pytest.raises(UsageError, match=r"^the state is of other settings: only one has average$"):
        Trainer(build(), TrainConfig(epochs=4), CPU).load_state(whole.state)
    trainer = Trainer(build(), whole.config, CPU)
    with pytest.raises(UsageError, match="it has not begun"):
        trainer.state()
    trainer.load_state(whole.state)
    with pytest.raises(UsageError, match=r"^an epoch has 5 batches: the training was begun with 10$"):
        trainer.fit(make_batches(93, 20), make_batches(40, 20, None))
