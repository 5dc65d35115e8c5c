"""The careful step: one update of a model from one batch or several, with what takes time and few trainings ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import DivergedError
from zoo.registry.settings import TrainConfig
from zoo.training.average import Average
from zoo.training.schedules import Schedule
from zoo.training.step import Forward, LossFunction, TrainStep

Weigh = Callable[[Tensor], float | Tensor]
"""Gives what the targets of a batch count."""
SKIPS = 40
"""Steps one after the other whose gradients overflow in fp16, the scale of the loss halved each time from 65536 on: by
then no scale helps."""


class CarefulStep(TrainStep):
    """A step whose gradients are those of several batches, are clipped, and scaled where fp16 would lose them; after it
    the average of the weights is brought up to date. Each as the settings say."""

    def __init__(
        self,
        model: Forward,
        loss_function: LossFunction,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None,
        config: TrainConfig,
        average: Average | None = None,
        weigh: Weigh = len,
    ) -> None:
        super().__init__(model, loss_function, optimizer, schedule)
        if config.precision == "fp16":  # the sum of a batch's losses would overflow; this divides without rounding
            weigh = partial(_weigh_less, weigh, 2 ** (config.batch_size - 1).bit_length())
        self.config, self.average, self.weigh = config, average, weigh
        self.samples: float | Tensor = 0
        self.weighted = config.accumulate > 1
        """Whether gradients are those of sums, which are divided by the weights of all summands."""
        device = self.parameters[0].device.type if self.parameters else "cpu"
        self.scaler = torch.amp.GradScaler(device, enabled=config.precision == "fp16")

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradients of a batch, weighted by its samples; update after as many batches as the settings say.

        The gradients are then those of one large batch, but for how floats are rounded, where nothing in the model
        depends on the whole batch.
        """
        if self.whole is not None and (whole := self.whole(inputs, targets)) is not None:
            return whole
        if not self.batches:
            self.forget()
        samples = self.weigh(targets) if self.weighted else 1
        if self.capture is not None:
            loss = self.capture(inputs, targets, samples)
        else:
            loss = self.differentiate(self.model, inputs, targets, samples)
        self.batches, self.samples = self.batches + 1, self.samples + samples
        if self.batches == self.config.accumulate:
            self.complete()
        return loss

    def differentiate(self, model: Forward, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch, times its weight, to those of the parameters; return its mean loss."""
        loss = self.loss_function(model(inputs), targets)
        self.scaler.scale(loss * weight if self.weighted else loss).backward()
        return loss.detach()

    def finish(self) -> None:
        """End an epoch: update by the gradients of the batches since the last update, if there are any."""
        if self.batches:
            self.complete()
        super().finish()

    def complete(self) -> None:
        """Update by the gradients of the batches since the last update."""
        self.settle()
        self.trim()
        self.batches, self.samples = 0, 0
        self.update()

    def trim(self) -> None:
        """Make the gradients what the parameters are updated by: without a scale, a mean over all samples, clipped."""
        self.scaler.unscale_(self.optimizer)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if self.weighted:
            torch._foreach_div_(gradients, self.samples)
        if self.config.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
            # With a scaler an infinite norm is no divergence: the step is left out and the scale falls.
            self.norm = None if self.scaler.is_enabled() else norm
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.clip_value)

    def update(self) -> None:
        """Update the parameters, then the learning rate and the average; none of them where gradients overflowed.

        Raises:
            DivergedError: they did so SKIPS times in a row.
        """
        if not self.scaler.is_enabled():
            super().update()
            return
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.get_scale() < scale:
            self.skipped += 1
            if self.skipped == SKIPS:
                what = f"the gradients of {SKIPS} steps in a row were not finite in fp16"
                raise DivergedError(what, fix="Use precision='fp32', or a lower lr=...")
            return
        self.skipped = 0
        self.advance()

    def advance(self) -> None:
        """Do what follows an update of the parameters: change the learning rate and the average."""
        super().advance()
        if self.average is not None:
            self.average.update()

    def list_parts(self) -> dict[str, Any]:
        """Return what has a state that changes from step to step, by name, each with a `state_dict`."""
        more = {"average": self.average, **({"scaler": self.scaler} if self.scaler.is_enabled() else {})}
        return {**super().list_parts(), **{name: part for name, part in more.items() if part is not None}}


def _weigh_less(weigh: Weigh, times: int, targets: Tensor) -> float | Tensor:
    return weigh(targets) / times
