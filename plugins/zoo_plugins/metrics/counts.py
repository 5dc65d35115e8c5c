"""Counts: how often each class is the target, is predicted, and both at once, and metrics that need no more.

These are the sums of the rows and the columns of a confusion matrix, and its diagonal. They say all that precision,
recall, F1, balanced accuracy, kappa and Matthews' correlation ask of it, in `3 * num_classes` numbers instead of
`num_classes ** 2`: for 20,000 classes half a megabyte instead of three gigabytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


def check_batch(logits: Tensor, targets: Tensor, num_classes: int) -> None:
    """Raise ValueError where the shapes are not `(N, num_classes)` and `(N,)`."""
    if logits.shape != (len(targets), num_classes) or targets.ndim != 1:
        raise ValueError(
            f"expected logits (N, {num_classes}) and targets (N,), got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )


@dataclass(frozen=True)
class ClassCounts:
    """Counts of samples by class, one number a class.

    Fields:
        hits: Samples of the class that are predicted as it.
        predicted: Samples that are predicted as the class, whatever they are.
        support: Samples of the class, whatever they are predicted as.
    """

    hits: tuple[int, ...]
    predicted: tuple[int, ...]
    support: tuple[int, ...]

    @property
    def samples(self) -> int:
        """The number of all samples."""
        return sum(self.support)

    @property
    def right(self) -> int:
        """The number of samples that are predicted as what they are."""
        return sum(self.hits)


class ClassCounter:
    """Count on the device of the logits, in int64, so that nothing is rounded and only `read` waits for the device."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.counts: Tensor | None = None

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count one batch; of equal logits the first one is predicted. Raise ValueError for other shapes."""
        check_batch(logits, targets, self.num_classes)
        targets, predicted = targets.to(torch.int64), logits.argmax(dim=1)
        # One call for all three: hits come first, where a sample that is predicted wrongly adds 0.
        places = torch.cat([targets, predicted + self.num_classes, targets + 2 * self.num_classes])
        added = torch.ones_like(places)
        added[: len(targets)] = predicted == targets
        # scatter_add_ of one axis, unlike bincount, waits for no device and is allowed where all must be deterministic.
        self._add(places.new_zeros(3 * self.num_classes).scatter_add_(0, places, added))

    def merge(self, other: ClassCounter) -> None:
        """Add what another one counted, on any device; raise ValueError where it counts other numbers of classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"num_classes: expected {self.num_classes}, got {other.num_classes}")
        if other.counts is not None:
            self._add(other.counts)

    def read(self) -> ClassCounts:
        """Return the counts so far; raise ValueError where there are no samples, of which no score can be."""
        rows = [] if self.counts is None else self.counts.reshape(3, self.num_classes).tolist()
        if not any(map(any, rows)):
            raise ValueError("expected at least one sample, got none")
        return ClassCounts(*map(tuple, rows))

    def _add(self, counts: Tensor) -> None:
        # A new tensor each time: one from inference mode cannot be changed in place, and `other` keeps its own.
        self.counts = counts if self.counts is None else self.counts.to(counts.device) + counts


class CountMetric(ABC):
    """A metric that follows from the counts of each class; metrics of one run count once for all of them.

    `update` takes logits `(N, num_classes)` and targets `(N,)`. The value depends on the samples alone, not on how they
    are cut into batches or on their order.
    """

    def __init__(self, *, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
        self.counter = ClassCounter(num_classes)
        self.shares = False

    def reset(self) -> None:
        """Forget all samples."""
        if not self.shares:
            self.counter.reset()

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count one batch; raise ValueError where the shapes are not `(N, num_classes)` and `(N,)`."""
        if not self.shares:
            self.counter.update(logits, targets)

    def merge(self, other: CountMetric) -> None:
        """Add what another one counted, on any device; raise ValueError where it has another number of classes."""
        if not self.shares:
            self.counter.merge(other.counter)

    def share_counts(self, other: object) -> bool:
        """Read the counts of another metric from now on, if it counts the same; tell whether."""
        if not isinstance(other, CountMetric) or other.counter.num_classes != self.counter.num_classes:
            return False
        self.counter, self.shares = other.counter, True
        return True

    def compute(self) -> float:
        """Return the value; raise ValueError where there are no samples."""
        return self.score(self.counter.read())

    @abstractmethod
    def score(self, counts: ClassCounts) -> float:
        """Return the value that follows from counts of at least one sample."""


def divide(part: int, whole: int) -> float:
    """Return `part / whole`, and 0 for 0 / 0."""
    return part / whole if whole else 0.0
