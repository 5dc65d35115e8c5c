"""Course style: loss and accuracy as the course averages them, over batches instead of over samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

NAME = "course"
"""The scores are called `course.loss` and `course.accuracy`, as those of a metric of this name would be."""
LOSS, ACCURACY = f"{NAME}.loss", f"{NAME}.accuracy"
BATCH_SIZE = 32
"""Samples in a batch of the course's loaders."""


class CourseStyle:
    """Means over batches of `batch_size` samples: the cross-entropy as `loss`, and `accuracy` in percent.

    The last batch counts as much as a full one, which makes both differ from the exact ones. They do not depend on how
    the samples arrive: batches of another size are cut anew.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.losses: list[Tensor] = []
        self.hits: list[Tensor] = []

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take in one batch of logits `(N, C)` and targets `(N,)`."""
        import torch  # a comparison averages without it

        self.losses.append(torch.nn.functional.cross_entropy(logits, targets.to(torch.int64), reduction="none"))
        self.hits.append(logits.argmax(dim=1) == targets)

    def compute(self) -> dict[str, float]:
        """Return both means."""
        import torch

        losses, hits = (torch.cat(values).cpu().to(torch.float64) for values in (self.losses, self.hits))
        return {
            "loss": average_over_batches(losses.numpy(), self.batch_size),
            "accuracy": 100 * average_over_batches(hits.numpy(), self.batch_size),
        }


def average_over_batches(values: ArrayLike, batch_size: int = BATCH_SIZE) -> float:
    """Return the mean of the means of batches: of values `(N,)` in their order, the last batch may be smaller."""
    given: NDArray[numpy.float64] = numpy.asarray(values, dtype=numpy.float64)
    full = len(given) // batch_size * batch_size
    means = given[:full].reshape(-1, batch_size).mean(axis=1)
    if full < len(given):
        means = numpy.append(means, given[full:].mean())
    return float(means.mean())
