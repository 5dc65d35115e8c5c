"""Accuracy: the share of samples whose target is predicted, with the highest logit or among the k highest ones."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_plugins.metrics.counts import check_batch


class Accuracy:
    """Count hits and samples exactly, whatever the batches.

    `update` takes logits `(N, num_classes)` and targets `(N,)`. The count of hits stays on the device of the logits, so
    that only `compute` waits for the device.
    """

    def __init__(self, *, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.correct: Tensor | None = None
        self.total = 0

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count one batch.

        Raises:
            ValueError: the shapes are not `(N, num_classes)` and `(N,)`.
        """
        check_batch(logits, targets, self.num_classes)
        self._add(self.find_hits(logits, targets).sum(), len(targets))

    def find_hits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Tell for each sample whether its target is predicted; of equal logits the first one is the highest."""
        return logits.argmax(dim=1) == targets

    def merge(self, other: Accuracy) -> None:
        """Add what another one counted, on any device.

        Raises:
            ValueError: the other one has another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f"num_classes: expected {self.num_classes}, got {other.num_classes}")
        if other.correct is not None:
            self._add(other.correct, other.total)

    def compute(self) -> float:
        """Return hits divided by samples.

        Raises:
            ValueError: there are no samples, so there is no accuracy.
        """
        if self.correct is None or not self.total:
            raise ValueError("expected at least one sample, got none")
        return int(self.correct) / self.total

    def _add(self, correct: Tensor, total: int) -> None:
        # A new tensor each time: one from inference mode cannot be changed in place, and `other` keeps its own.
        self.correct = correct if self.correct is None else self.correct.to(correct.device) + correct
        self.total += total


class TopK(Accuracy):
    """The share of samples whose target is among the classes of the `k` highest logits; with `k=1` the accuracy.

    Of equal logits the class that comes first is the higher one, as in accuracy: a model that gives one logit for all
    classes is not right for all samples.
    """

    def __init__(self, *, num_classes: int, k: int = 5) -> None:
        super().__init__(num_classes=num_classes)
        if not 1 <= k <= num_classes:
            raise ValueError(f"k: expected 1 to {num_classes}, the number of classes, got {k}")
        self.k = k

    def find_hits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Tell for each sample whether fewer than `k` classes have a higher logit, or the same and come before it."""
        targets = targets.to(torch.int64).unsqueeze(1)
        own = logits.gather(1, targets)
        before = torch.arange(self.num_classes, device=logits.device) < targets
        # Those that are not higher are counted: nan is higher than all numbers then, as it is for argmax.
        lower = torch.where(before, logits < own, logits <= own).sum(dim=1)
        return self.num_classes - lower < self.k

    def merge(self, other: Accuracy) -> None:
        """Add what another one counted, on any device.

        Raises:
            ValueError: the other one has another number of classes or another `k`.
        """
        if not isinstance(other, TopK) or other.k != self.k:
            raise ValueError(f"k: expected {self.k}, got {getattr(other, 'k', 1)}")
        super().merge(other)
