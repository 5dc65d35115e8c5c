"""Measuring: what a look at the speed of a training goes over, and how it waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from zoo.data.batch import Batches

WARM = 3
"""Steps that are not counted: the first ones also allocate memory."""
FEWEST = 5
"""Batches that are counted at least."""
SECONDS = 0.2
"""How long batches are counted at least."""
AHEAD = 4
"""Batches for each worker that are not counted: at the beginning all read for the same one, and then some lie ready."""
STEADY = 1.0
"""Seconds that batches of workers are counted at least: they come in bursts."""
MOST = 5.0
"""Seconds after which the batches that were counted by then are enough: one may take minutes."""


def is_enough(counted: int, seconds: float, least: float = SECONDS) -> bool:
    """Tell whether so many batches in so many seconds tell their pace."""
    return (counted >= FEWEST and seconds >= least) or (counted > 0 and seconds >= MOST)


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


class Watched:
    """The batches of one epoch, taken until their pace is known.

    Fields:
        start: Seconds by which an epoch takes longer than its batches: those in which the workers start.
        each: Seconds from one batch to the next one.
        samples: How many were taken.
    """

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self.batches, self.device = batches, device
        self.start, self.each, self.samples = 0.0, 0.0, 0

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield them; an epoch of few batches is taken whole, and of one that takes long a batch or two."""
        workers, taken, is_whole = count_workers(self.batches), 0, True
        ahead, least = (AHEAD * workers, STEADY) if workers else (1, SECONDS)
        started = begun = time.perf_counter()
        read: Any = self.batches.epoch(epoch, start)
        with closing(read):
            for batch in read:
                yield batch
                taken += 1
                self.samples += len(batch[1])
                if taken == ahead:
                    wait(self.device)
                    begun = time.perf_counter()
                    if not workers and begun - started >= MOST:
                        break
                if is_enough(taken - ahead, time.perf_counter() - begun, least):
                    is_whole = False
                    break
            wait(self.device)
            ended = time.perf_counter()
        if is_whole:
            self.each = (ended - started) / max(1, taken)
        else:
            self.each = (ended - begun) / (taken - ahead)
            self.start = max(0.0, begun - started - ahead * self.each)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first batch."""
        return self.batches.first()


def count_workers(batches: Batches) -> int:
    """Return how many processes read batches; 0 where they are gathered in this one."""
    return getattr(batches, "workers", 0)
