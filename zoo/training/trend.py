"""Trend: where a training was going when it ended, as its history tells, in sentences."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from zoo.errors import quote
from zoo.records.history import Epoch, watched_scores, watched_split
from zoo.registry.settings import TrainConfig
from zoo.training.collapse import FEW, NEAR, find_guessing_loss
from zoo.training.predictions import Outcomes

log = logging.getLogger("zoo")

FLAT = 0.005
"""The share of its value by which a train loss falls in two epochs that no longer learn."""
HIGH = 0.5
"""The share of the loss of guessing above which a train loss is high."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What chance does to a loss.

    Fields:
        error: Standard error of the mean loss on the watched split, in nats.
        guessing: The loss of guessing with the frequencies of the classes, in nats.
    """

    error: float
    guessing: float


def measure_noise(outcomes: Outcomes, watched: int) -> Noise | None:
    """Return the noise of a mean over `watched` samples that scatter as these outcomes do; None of too few."""
    if len(outcomes) < FEW or watched < FEW:
        return None
    losses = -numpy.log(numpy.maximum(outcomes.arrays["target_probabilities"], 1e-30).astype(numpy.float64))
    error = float(losses.std()) / watched**0.5
    return Noise(error=error, guessing=find_guessing_loss(outcomes.arrays["targets"]))


def find_trend(history: Sequence[Epoch], noise: Noise, *, comparable: bool) -> tuple[str, ...]:
    """Return what the epochs show beyond the noise: still improving, overfitting or underfitting.

    `comparable` tells whether the train loss is of the same kind as the watched one: the cross-entropy of images as
    they are. Of fewer than three epochs nothing is said.

    Still improving: the last watched loss is the lowest, by more than the error below the one before, and by three
    errors below that of two epochs ago. Overfitting: the last three losses are above the lowest by more than an error
    and three times what they scatter from epoch to epoch, and the train loss has fallen all the same. Underfitting:
    the train loss is over half of that of guessing, hardly falls any more, and is as high as the watched one.
    """
    if len(history) < 3:
        return ()
    split, last = watched_split(history[-1]), history[-1]["epoch"]
    watched = [watched_scores(epoch)["loss"] for epoch in history]
    name = next(iter(history[-1]["train"]))  # of what was minimised
    train = [epoch["train"][name] for epoch in history]
    lowest = watched.index(min(watched))
    if watched[-1] <= min(watched) and watched[-2] - watched[-1] > noise.error < (watched[-3] - watched[-1]) / 3:
        seen = f"the {split} loss fell from {watched[-3]:.4f} to {watched[-1]:.4f} over epochs {last - 2} to {last}"
        return (f"still improving: {seen}; more epochs may do better",)
    # All epochs are evaluated on the same samples, so most of the error is in all of them and makes no difference.
    scatter = float(numpy.diff(watched[lowest:]).std()) / 2**0.5 if lowest < len(history) - 3 else numpy.inf
    rise = min(watched[-3:]) - watched[lowest]
    if rise > max(noise.error, 3 * scatter) and train[-1] < train[lowest]:
        best = history[lowest]["epoch"]
        seen = f"the {split} loss rose from {watched[lowest]:.4f} in epoch {best} to {watched[-1]:.4f} in epoch {last}"
        told = f"overfitting: {seen}, while the train {name} fell from {train[lowest]:.4f} to {train[-1]:.4f}"
        return (told if split == "validation" else f"{told}; with a validation split the best epoch is kept",)
    flat = abs(train[-3] - train[-1]) < FLAT * train[-1]
    alike = abs(watched[-1] - train[-1]) < 2 * noise.error
    # At the loss of guessing itself nothing was learned, which is another fault.
    if comparable and flat and alike and HIGH * noise.guessing < train[-1] < NEAR * noise.guessing:
        seen = f"the train loss of {train[-1]:.4f} hardly falls any more and is as high as the {split} loss"
        return (f"underfitting: {seen}; guessing has {noise.guessing:.4f}, so a larger model may do better",)
    return ()


def is_comparable(config: TrainConfig) -> bool:
    """Tell whether the train loss is the cross-entropy of images as they are, by the weights that are evaluated."""
    names = (
        "label_smoothing",
        "augment",
        "erase",
        "mixup",
        "cutmix",
        "loss",
        "class_weights",
        "balanced_sampling",
        "ema",
    )
    return all(getattr(config, name) == getattr(TrainConfig, name) for name in names)


def tell_trend(model: str, trend: Sequence[str]) -> None:
    """Say it quietly: it is no fault of the model."""
    if trend:
        log.info("model %s: %s", quote(model), "; ".join(trend))
