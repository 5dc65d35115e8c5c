"""Collapse: a training that sits at chance, noticed while it goes on, patiently, for many recover."""

from __future__ import annotations

import logging

import torch
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

    def read(self) -> tuple[Tensor, Tensor]:
        """Return targets and predictions `(N,)` on the CPU."""
        targets, predictions = torch.cat(self.batches, dim=1).cpu()
        return targets, predictions


class CollapseWatch:
    """Looks at the evaluation after the first epoch that ends PATIENCE steps or more after the warm-up.

    A model that predicts one class for all samples there, with the loss of guessing or a higher one, is warned of. With
    `on_collapse="stop"` it is looked at again as many steps later, and the training ends if nothing has changed. The
    last epoch is not looked at: the verdict on the trained model says the same.
    """

    def __init__(self, config: TrainConfig, batches: int) -> None:
        steps = max(1, count_steps(config, batches))
        first = -(-(config.warmup + PATIENCE) // steps)
        second = max(first + 1, -(-(config.warmup + 2 * PATIENCE) // steps))
        self.epochs, self.last, self.stops = [first, second], config.epochs, config.on_collapse == "stop"
        self.stuck = False

    def collector(self, epoch: int) -> ClassPairs | None:
        """Return what is to collect the predictions after an epoch, numbered from 1 on; None for most."""
        first, second = self.epochs
        looks = epoch == first or (epoch == second and self.stuck and self.stops)
        return ClassPairs() if looks and epoch < self.last else None

    def judge(self, epoch: Epoch, collected: ClassPairs | None) -> None:
        """Warn of a collapse, or end the training.

        Raises:
            DivergedError: the model is stuck, was so before, and the settings say to stop.
        """
        if collected is None:
            return
        loss, split, number = watched_scores(epoch)["loss"], watched_split(epoch), epoch["epoch"]
        again, self.stuck = self.stuck, is_stuck(collected, loss)
        if not self.stuck:
            return
        after = f"after {number} epoch{'' if number == 1 else 's'}"
        seen = f"it predicts one class for all {split} samples, and its loss of {loss:.4f} is that of guessing"
        if again:
            fix = "Give lr=... a lower value, or take another seed"
            raise DivergedError(f"the training is stuck at chance {after}", seen, fix)
        advice = "It may recover; if not, try a smaller learning rate or another seed"
        log.warning("the training is stuck at chance %s: %s. %s", after, seen, advice)


def is_stuck(collected: ClassPairs, loss: float) -> bool:
    """Tell whether all predictions are of one class, and the mean cross-entropy `loss` is no better than guessing.

    Guessing knows how frequent the classes are: its loss is the entropy of the targets, in nats.
    """
    targets, predictions = collected.read()
    counts = targets.bincount().double()
    shares = counts[counts > 0] / len(targets)
    guessing = -float((shares * shares.log()).sum())
    if len(targets) < FEW or len(shares) < 2:
        return False
    return bool((predictions == predictions[0]).all()) and loss >= NEAR * guessing
