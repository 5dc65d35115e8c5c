"""Collapse: a training that sits at chance, noticed while it goes on, patiently, for many recover."""

from __future__ import annotations

import logging

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import DivergedError
from zoo.records.history import Epoch, watched_scores, watched_split
from zoo.registry.settings import TrainConfig
from zoo.training.schedules import count_steps

log = logging.getLogger("zoo")

PATIENCE = 1000
"""Steps after the warm-up before which nothing is said: a small network may sit at chance for hundreds of steps and
then learn. `docs/guide/training.md` counts them."""
FEW = 30
"""Samples below which chance explains what looks wrong."""
NEAR = 0.98
"""The share of the loss of guessing from which on a loss is no better than it."""


class ClassPairs:
    """The target and the prediction of each sample of an evaluation, on their device until they are asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.batches: list[Tensor] = []

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take in one batch of logits `(N, C)` and targets `(N,)`."""
        self.batches.append(torch.stack([targets.to(torch.int64), logits.argmax(dim=1)]))

    def read(self) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
        """Return targets and predictions `(N,)`."""
        targets, predictions = torch.cat(self.batches, dim=1).cpu().numpy()
        return targets, predictions


class CollapseWatch:
    """Looks at the evaluation after the first epoch that ends PATIENCE steps or more after the warm-up.

    A model that predicts one class for all samples there, with the loss of guessing or a higher one, is warned of. With
    `on_collapse="stop"` it is looked at again as many steps later, and the training ends if nothing has changed. The
    last epoch is not looked at: the verdict on the trained model says the same. `stuck` is how often in a row it was.
    """

    def __init__(self, config: TrainConfig, batches: int) -> None:
        steps = max(1, count_steps(config, batches))
        first = -(-(config.warmup + PATIENCE) // steps)
        second = max(first + 1, -(-(config.warmup + 2 * PATIENCE) // steps))
        self.epochs, self.last, self.stops = [first, second], config.epochs, config.on_collapse == "stop"
        self.stuck = 0

    def collector(self, epoch: int) -> ClassPairs | None:
        """Return what is to collect the predictions after an epoch, numbered from 1 on; None for most."""
        first, second = self.epochs
        looks = epoch == first or (epoch == second and self.stuck and self.stops)
        return ClassPairs() if looks and epoch < self.last else None

    def look(self, epoch: Epoch, collected: ClassPairs | None) -> str:
        """Take in the evaluation of an epoch; return what is wrong with it, for `tell`, "" where nothing is."""
        if collected is None:
            return ""
        loss, split = watched_scores(epoch)["loss"], watched_split(epoch)
        self.stuck = self.stuck + 1 if is_stuck(collected, loss) else 0
        seen = f"it predicts one class for all {split} samples, and its loss of {loss:.4f} is that of guessing"
        return seen if self.stuck else ""

    def tell(self, epoch: Epoch, seen: str) -> None:
        """Warn of what was seen after an epoch, or end the training.

        Raises:
            DivergedError: the model is stuck, was so before, and the settings say to stop.
        """
        if not seen:
            return
        number = epoch["epoch"]
        what = f"the training is stuck at chance after {number} epoch{'' if number == 1 else 's'}"
        if self.stuck > 1:
            raise DivergedError(what, seen, "Give lr=... a lower value, or take another seed")
        log.warning("%s: %s. It may recover; if not, try a smaller learning rate or another seed", what, seen)


def is_stuck(collected: ClassPairs, loss: float) -> bool:
    """Tell whether all predictions are of one class, and the mean cross-entropy `loss` is no better than guessing.

    Of few samples, or of one class, nothing is said.
    """
    targets, predictions = collected.read()
    guessing = find_guessing_loss(targets)
    if len(targets) < FEW or not guessing:
        return False
    return bool((predictions == predictions[0]).all()) and loss >= NEAR * guessing


def find_guessing_loss(targets: NDArray[numpy.integer]) -> float:
    """Return the loss of guessing, in nats: the entropy of the targets, whose frequencies it knows; 0 of one class."""
    counts = numpy.bincount(targets)
    shares = counts[counts > 0] / len(targets)
    return -float((shares * numpy.log(shares)).sum())
