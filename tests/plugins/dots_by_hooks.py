"""A plugin in one file, with hook functions: `--plugin dots_by_hooks.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

import zoo


def dots(*, root: Path, size: int = 64) -> zoo.DataSplits:
    """Return pictures with one bright dot, on the left or on the right; nothing is read from `root`."""
    numbers = torch.arange(size)
    targets = numbers % 2
    images = torch.zeros(size, 1, 4, 4, dtype=torch.uint8)
    images[numbers, 0, numbers // 2 % 4, 3 * targets] = 255
    half = size // 2
    return zoo.DataSplits(
        train=(images[:half], targets[:half]), test=(images[half:], targets[half:]), class_names=("left", "right")
    )


class Misses:
    """The number of wrong predictions."""

    def __init__(self, *, num_classes: int) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.misses = torch.tensor(0)

    def update(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Take in one batch."""
        self.misses = self.misses + (logits.argmax(dim=1) != targets).sum()

    def compute(self) -> int:
        """Return the number so far."""
        return int(self.misses)


@zoo.hookimpl
def zoo_datasets() -> Iterator[zoo.DatasetSpec]:
    """Yield the dots."""
    yield zoo.DatasetSpec(
        name="dots",
        factory=dots,
        description="A bright dot, left or right",
        params={"size": 64},
        input_shape=(1, 4, 4),
        class_names=("left", "right"),
        samples={"train": 32, "test": 32},
    )


@zoo.hookimpl
def zoo_metrics() -> Iterator[zoo.MetricSpec]:
    """Yield the count."""
    yield zoo.MetricSpec(name="misses", factory=Misses, description="Wrong predictions", higher_is_better=False)
