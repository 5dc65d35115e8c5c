"""The contract of a metric object: what a metric factory gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

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
