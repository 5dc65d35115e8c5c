"""Measuring: what a look at the speed of a training goes over, and how it waits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import torch
from torch import Tensor

from zoo.data.batches import Batches

WARM = 3
"""Steps that are not counted: the first ones also allocate memory."""


def go_on(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after the other, without end."""
    for epoch in count():
        yield from batches.epoch(epoch)


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class FirstBatches:
    """The first batches of a split, as many as have so many samples, one at least."""

    def __init__(self, batches: Batches, samples: int) -> None:
        self.batches = batches
        self.length = max(1, min(len(batches), samples // max(1, len(batches.first()[1]))))
        self.samples = sum(len(targets) for _, targets in self.epoch(0))

    def __len__(self) -> int:
        return self.length

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield them; `start` is the number of the first one."""
        return islice(self.batches.epoch(epoch, start), self.length)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first batch."""
        return self.batches.first()
