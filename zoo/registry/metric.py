"""The contract of a metric object: what a metric factory gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from torch import Tensor


class Metric(Protocol):
    """Accumulates over batches; a TorchMetrics metric fits as it is."""

    def update(self, logits: Tensor, targets: Tensor) -> Any:
        """Take in one batch of logits `(N, num_classes)` and targets `(N,)`."""

    def compute(self) -> Any:
        """Return the value over all batches since the last reset: a number or a dict of numbers."""

    def reset(self) -> Any:
        """Forget all batches."""


class MergingMetric(Metric, Protocol):
    """A metric may have this as well; where the parts of a data set are counted apart, they are then added up."""

    def merge(self, other: Self) -> Any:
        """Add what another one of the same factory and params has taken in, on any device, and leave it as it is."""


class SharingMetric(Metric, Protocol):
    """Metrics that count the same may have this as well: a run with several of them then counts once.

    A run asks once, before the first batch, and gives both the same batches. Where the answer is True, `update`,
    `reset` and `merge` of this metric do nothing from then on, since those of the other one come first.
    """

    def share_counts(self, other: object) -> bool:
        """Read the counts of another metric of any kind from now on, if it counts the same; return whether."""
