"""Schedules: how the learning rate changes from step to step, by the schedulers of torch."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from zoo.errors import ErrorCollector, SettingError
from zoo.registry.settings import TrainConfig


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


def build_schedule(optimizer: Optimizer, config: TrainConfig, batches: int) -> LRScheduler | None:
    """Build the scheduler of a training of so many batches in each epoch, to be called after each step, or None."""
    steps = count_steps(config, batches)
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
            return OneCycleLR(optimizer, max_lr=config.lr, total_steps=total + 1)
        case "step":
            return StepLR(optimizer, step_size=steps * config.step_epochs, gamma=config.gamma)
        case "exponential":
            return ExponentialLR(optimizer, gamma=config.gamma ** (1 / steps))
    return None
