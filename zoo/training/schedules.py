"""Schedules: how the learning rate changes from step to step, by the schedulers of torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from zoo.errors import ErrorCollector, SettingError
from zoo.records.history import Epoch, watched_scores
from zoo.registry.settings import TrainConfig
from zoo.training.choice import NEEDS_VALIDATION, Choice


class Schedule:
    """The schedulers of a training: one that is stepped after each step, and one after each epoch, either or both.

    `rate` is the learning rate of the last step, of the first group of the optimizer.
    """

    def __init__(
        self, optimizer: Optimizer, each_step: LRScheduler | None, each_epoch: ReduceLROnPlateau | None, monitor: str
    ) -> None:
        self.optimizer, self.each_step, self.each_epoch, self.monitor = optimizer, each_step, each_epoch, monitor
        self.rate = float(optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Set the rate of the step after this one."""
        self.rate = self.optimizer.param_groups[0]["lr"]
        if self.each_step is not None:
            self.each_step.step()

    def finish_epoch(self, scores: Mapping[str, float]) -> None:
        """Set the rate of the epoch after this one by the scores of this one."""
        if self.each_epoch is not None:
            self.each_epoch.step(scores[self.monitor])

    def catch_up(self, history: Iterable[Epoch], steps: int, rest: int) -> None:
        """Set the rate of the step after so many: `steps` in each of some epochs, and `rest` more."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of an optimizer whose steps it has not seen
            for epoch in history:
                for _ in range(steps):
                    self.step()
                self.finish_epoch(watched_scores(epoch))
            for _ in range(rest):
                self.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what it takes, beside the optimizer's state, to go on from here."""
        parts = {"each_step": self.each_step, "each_epoch": self.each_epoch}
        states = {name: part.state_dict() for name, part in parts.items() if part is not None}
        return {"rate": self.rate, **states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state of a schedule of the same settings."""
        self.rate = state["rate"]
        for part, name in ((self.each_step, "each_step"), (self.each_epoch, "each_epoch")):
            if part is not None:
                part.load_state_dict(state[name])


def check_schedule(config: TrainConfig) -> None:
    """Refuse settings of a schedule, and of what is unfrozen when, that do not go together.

    Raises:
        SettingError, SeveralErrors: every problem at once.
    """
    errors = ErrorCollector()
    if config.schedule == "plateau":
        if config.gamma == 1:
            errors.errors.append(SettingError("gamma", "must be below 1.0 for a plateau schedule", config.gamma))
        if config.patience is not None and config.patience <= config.plateau_epochs:
            why = f"must be more than plateau_epochs, {config.plateau_epochs}, or the rate never falls before the end"
            errors.errors.append(SettingError("patience", why, config.patience))
    if config.unfreeze_at is not None and config.unfreeze_at > config.epochs:
        why = f"must be at most {config.epochs}, the epochs of the training"
        errors.errors.append(SettingError("unfreeze_at", why, config.unfreeze_at))
    errors.raise_any()


def check_steps(config: TrainConfig, batches: int) -> None:
    """Refuse settings that a training of so many batches in each epoch has no room for.

    Raises:
        SettingError, SeveralErrors: a step takes more batches than there are; the warm-up takes the whole training.
    """
    errors, total = ErrorCollector(), count_steps(config, batches) * config.epochs
    if config.accumulate > max(1, batches):
        errors.errors.append(
            SettingError("accumulate", f"must be at most {batches}, the batches of an epoch", config.accumulate)
        )
    if config.epochs and config.warmup >= max(1, total):
        errors.errors.append(
            SettingError("warmup", f"must be less than {total}, the steps of the training", config.warmup)
        )
    errors.raise_any()


def count_steps(config: TrainConfig, batches: int) -> int:
    """Return how many steps an epoch of so many batches has."""
    return -(-batches // config.accumulate)


def build_schedule(
    optimizer: Optimizer, config: TrainConfig, batches: int, choice: Choice | None = None
) -> Schedule | None:
    """Build the schedule of a training of so many batches in each epoch, None where the rate stays as it is.

    A plateau schedule goes by the score that the choice watches, and by what counts as better there.

    Raises:
        SettingError: a plateau schedule has no choice to go by.
    """
    each_step = _build_each_step(optimizer, config, count_steps(config, batches))
    each_epoch, monitor = None, ""
    if config.schedule == "plateau":
        if choice is None:
            raise SettingError("schedule", *NEEDS_VALIDATION)
        monitor = choice.monitor
        each_epoch = ReduceLROnPlateau(
            optimizer,
            mode="max" if choice.higher_is_better else "min",
            factor=config.gamma,
            patience=config.plateau_epochs - 1,  # torch counts the epochs that it lets pass before the one that falls
            threshold=choice.min_delta,
            threshold_mode="abs",
        )
    if each_step is None and each_epoch is None:
        return None
    return Schedule(optimizer, each_step, each_epoch, monitor)


def _build_each_step(optimizer: Optimizer, config: TrainConfig, steps: int) -> LRScheduler | None:
    main = _build_main(optimizer, config, steps, steps * config.epochs - config.warmup)
    if not config.warmup:
        return main
    rise = LinearLR(optimizer, start_factor=1 / (config.warmup + 1), total_iters=config.warmup)
    return SequentialLR(optimizer, [rise, main], milestones=[config.warmup]) if main is not None else rise


def _build_main(optimizer: Optimizer, config: TrainConfig, steps: int, total: int) -> LRScheduler | None:
    """Build what follows the warm-up, in `total` steps."""
    match config.schedule:
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=total)
        case "linear":
            return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=total)
        case "one-cycle":
            # It counts the rate before the first step as well.
            highest = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(optimizer, max_lr=highest, total_steps=total + 1)
        case "step":
            return StepLR(optimizer, step_size=steps * config.step_epochs, gamma=config.gamma)
        case "exponential":
            return ExponentialLR(optimizer, gamma=config.gamma ** (1 / steps))
    return None


def list_rates(config: TrainConfig, steps: int, seen: Sequence[float] | None = None) -> list[list[float]]:
    """Return the learning rate of each step of a training with so many steps in each epoch, and that of the head.

    The second list is there only where the head has a rate of its own. `seen` are the rates of the last steps of the
    epochs of a plateau schedule, which goes by scores that are not known here.
    """
    wanted = [config.lr, *([config.head_lr] if config.head_lr is not None else [])]
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in wanted]
    optimizer = SGD(groups, lr=config.lr, momentum=0.9)
    schedule = _build_each_step(optimizer, config, steps)
    rates: list[list[float]] = [[] for _ in wanted]
    optimizer.step()  # torch warns of a scheduler that is stepped before its optimizer
    for _ in range(steps * config.epochs):
        for found, group in zip(rates, optimizer.param_groups, strict=True):
            found.append(float(group["lr"]))
        if schedule is not None:
            schedule.step()
    return rates if seen is None else _scale(rates, seen, steps)


def _scale(rates: Sequence[Sequence[float]], seen: Sequence[float], steps: int) -> list[list[float]]:
    """Return rates of which those of each epoch are multiplied so that the first list's last one is the seen one."""
    scaled: list[list[float]] = [[] for _ in rates]
    factor = 1.0
    for epoch in range(len(rates[0]) // steps):
        if epoch < len(seen):
            factor = seen[epoch] / rates[0][(epoch + 1) * steps - 1]
        for found, planned in zip(scaled, rates, strict=True):
            found += [rate * factor for rate in planned[epoch * steps : (epoch + 1) * steps]]
    return scaled
