"""Accuracy: the share of samples whose highest logit is that of the target."""

from __future__ import annotations

from torch import Tensor


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
        if logits.shape != (len(targets), self.num_classes) or targets.ndim != 1:
            raise ValueError(
                f"accuracy: expected logits (N, {self.num_classes}) and targets (N,), "
                f"got {tuple(logits.shape)} and {tuple(targets.shape)}"
            )
        self._add((logits.argmax(dim=1) == targets).sum(), len(targets))

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
            raise ValueError("accuracy: expected at least one sample, got none")
        return int(self.correct) / self.total

    def _add(self, correct: Tensor, total: int) -> None:
        # A new tensor each time: one from inference mode cannot be changed in place, and `other` keeps its own.
        self.correct = correct if self.correct is None else self.correct.to(correct.device) + correct
        self.total += total
