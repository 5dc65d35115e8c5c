"""Losses: those of an epoch, summed up and watched."""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor

from zoo.errors import DivergedError


class Losses:
    """The losses of an epoch, watched for the first one that is not finite.

    On the CPU each step's loss is read at once, which costs nothing there. On an accelerator reading one would wait for
    the device, so they stay there and are read every READ_EVERY steps, when the bar is redrawn, and at the end.
    """

    READ_EVERY = 1000

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type != "cpu"
        self.start(0)

    def start(self, epoch: int) -> None:
        """Forget the former epoch."""
        self.epoch, self.steps, self.samples, self.total, self.means, self.last = epoch, 0, 0, 0.0, 0.0, 0.0
        self.unread: list[tuple[Tensor, int]] = []

    def add(self, loss: Tensor, samples: int) -> None:
        """Take the mean loss of a batch.

        Raises:
            DivergedError: it is not finite; names the step.
        """
        if self.waits:
            self.unread.append((loss, samples))
            if len(self.unread) >= self.READ_EVERY:
                self._read()
        else:
            self._count(loss.item(), samples)

    def mean(self) -> float:
        """Return the mean loss per sample so far."""
        self._read()
        return self.total / self.samples

    def mean_over_batches(self) -> float:
        """Return the mean of the batches' means so far: one that is not full counts as much as the others."""
        self._read()
        return self.means / self.steps

    def status(self) -> str:
        """Return the latest loss, for the bar; nothing before the first step."""
        self._read()
        return f"loss {self.last:.4f}" if self.steps else ""

    def _read(self) -> None:
        if self.unread:
            values = torch.stack([loss for loss, _ in self.unread]).tolist()
            unread, self.unread = self.unread, []
            for value, (_, samples) in zip(values, unread, strict=True):
                self._count(value, samples)

    def _count(self, value: float, samples: int) -> None:
        self.steps += 1
        if not isfinite(value):
            raise DivergedError(
                f"the loss became {value} at step {self.steps} of epoch {self.epoch + 1}", fix="Use a lower lr=..."
            )
        self.last = value
        self.total += value * samples
        self.means += value
        self.samples += samples
