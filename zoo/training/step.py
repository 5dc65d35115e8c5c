"""The training step: one update of a model from one batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zoo.registry.settings import TrainConfig
from zoo.training.schedules import Schedule

LossFunction = Callable[..., Tensor]
"""Gives the mean loss of a batch, of logits `(N, num_classes)` and targets `(N,)`."""


class TrainStep:
    """Forward, loss, backward, update: called with a batch, it gives the mean loss, detached.

    Nothing is read back from the device, so an accelerator is never waited for.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_function: LossFunction,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None = None,
    ) -> None:
        self.model, self.loss_function, self.optimizer, self.schedule = model, loss_function, optimizer, schedule
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Train on inputs `(N, *input_shape)` and targets `(N,)`; return the loss, a tensor of one value."""
        loss = self.loss_function(self.model(inputs), targets)
        self.forget()
        loss.backward()
        self.update()
        return loss.detach()

    def forget(self) -> None:
        """Forget the gradients: what optimizer.zero_grad() does, without the profiler record it makes."""
        for parameter in self.parameters:
            parameter.grad = None

    def update(self) -> None:
        """Update the parameters by their gradients, then the learning rate."""
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()

    def finish(self) -> None:
        """End an epoch: all of its batches have made their steps."""


class CarefulStep(TrainStep):
    """A step whose gradients are those of several batches, and are clipped; each as the settings say."""

    def __init__(
        self,
        model: nn.Module,
        loss_function: LossFunction,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None,
        config: TrainConfig,
    ) -> None:
        super().__init__(model, loss_function, optimizer, schedule)
        self.config = config
        self.batches, self.samples = 0, 0

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradients of a batch, weighted by its samples; update after as many batches as the settings say.

        The gradients are then those of one large batch, but for how floats are rounded, where nothing in the model
        depends on the whole batch.
        """
        loss = self.loss_function(self.model(inputs), targets)
        if not self.batches:
            self.forget()
        (loss * len(targets) if self.config.accumulate > 1 else loss).backward()
        self.batches, self.samples = self.batches + 1, self.samples + len(targets)
        if self.batches == self.config.accumulate:
            self.finish()
        return loss.detach()

    def finish(self) -> None:
        """Update by the gradients of the batches since the last update, if there are any."""
        if not self.batches:
            return
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if self.config.accumulate > 1:
            torch._foreach_div_(gradients, self.samples)
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.clip_value)
        self.batches, self.samples = 0, 0
        self.update()


def build_step(
    model: nn.Module,
    loss_function: LossFunction,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule | None,
    config: TrainConfig,
) -> TrainStep:
    """Return the step that the settings ask for; the plain one where they ask for nothing that costs time."""
    if config.label_smoothing:
        loss_function = partial(loss_function, label_smoothing=config.label_smoothing)
    if config.accumulate == 1 and config.clip is None and config.clip_value is None:
        return TrainStep(model, loss_function, optimizer, schedule)
    return CarefulStep(model, loss_function, optimizer, schedule, config)
