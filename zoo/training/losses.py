"""Losses: those of an epoch, summed up and watched."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from zoo.errors import DivergedError

SUMS = ("epoch", "steps", "samples", "total", "means", "last")
"""What is known of an epoch so far."""


class Losses:
    """The losses of an epoch, watched for the first one that is not finite.

    On the CPU each step's loss is read at once, which costs nothing there. On an accelerator reading one would wait for
    the device, so they stay there and are read every READ_EVERY steps, when the bar is redrawn, and at the end.
    """

    READ_EVERY = 1000

    def __init__(self, device: torch.device) -> None:
        self.waits, self.resumed = device.type != "cpu", False
        self.start(0)

    def start(self, epoch: int) -> int:
        """Forget the former epoch; return how many batches of this one are done: some, where a state was loaded."""
        if self.resumed:
            self.resumed = False
            return self.batches
        self.epoch, self.steps, self.samples = epoch, 0, 0
        self.total, self.means, self.last = 0.0, 0.0, 0.0
        self.unread: list[tuple[Tensor, int]] = []
        self.norms: list[tuple[Tensor, int]] = []
        return 0

    @property
    def batches(self) -> int:
        """The batches of the epoch so far."""
        return self.steps + len(self.unread)

    def state(self) -> dict[str, Any]:
        """Return the sums of the epoch so far; raise DivergedError as `add` does."""
        self._read()
        return {name: getattr(self, name) for name in SUMS}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with an epoch that is in the middle: its next `start` keeps the sums."""
        self.start(0)
        vars(self).update(state)
        self.resumed = True

    def add(self, loss: Tensor, samples: int, norm: Tensor | None = None) -> None:
        """Take the mean loss of a batch, and the norm of the gradients where it is known.

        Raises:
            DivergedError: one of both is not finite; names the step.
        """
        if self.waits:
            self.unread.append((loss, samples))
            if norm is not None:
                self.norms.append((norm, self.steps + len(self.unread)))
            if len(self.unread) >= self.READ_EVERY:
                self._read()
        else:
            self._count(loss.item(), samples)
            if norm is not None:
                self._check_norm(norm.item(), self.steps)

    def watch(self, norm: Tensor | None) -> None:
        """Take the norm of the gradients of the last update of an epoch; raise DivergedError as `add` does."""
        if norm is not None:
            self.norms.append((norm, self.steps + len(self.unread)))
            self._read()

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
        unread, self.unread = self.unread, []
        norms, self.norms = self.norms, []
        if not unread and not norms:
            return
        values = torch.stack([value for value, _ in (*unread, *norms)]).tolist()
        # A norm that is no number comes before the loss that it spoils, which is that of the next step.
        told = zip(values[len(unread) :], norms, strict=True)
        bad = {step: value for value, (_, step) in told if not isfinite(value)}
        for value, (_, samples) in zip(values, unread, strict=False):
            self._count(value, samples)
            if self.steps in bad:
                break
        for step, value in bad.items():
            self._check_norm(value, step)

    def _check_norm(self, value: float, step: int) -> None:
        if not isfinite(value):
            raise DivergedError(
                f"the norm of the gradients became {value} at step {step} of epoch {self.epoch + 1}",
                fix="Give lr=... a lower value",
            )

    def _count(self, value: float, samples: int) -> None:
        self.steps += 1
        if not isfinite(value):
            raise DivergedError(
                f"the loss became {value} at step {self.steps} of epoch {self.epoch + 1}",
                fix="Give lr=... a lower value",
            )
        self.last = value
        self.total += value * samples
        self.means += value
        self.samples += samples
