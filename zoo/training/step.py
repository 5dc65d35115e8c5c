"""The training step: one update of a model from one batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LossFunction = Callable[[Tensor, Tensor], Tensor]


class TrainStep:
    """Forward, loss, backward, update: called with a batch, it gives the mean loss, detached.

    Nothing is read back from the device, so an accelerator is never waited for.
    """

    def __init__(self, model: nn.Module, loss_function: LossFunction, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.loss_function, self.optimizer = model, loss_function, optimizer
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Train on inputs `(N, *input_shape)` and targets `(N,)`; return the loss, a tensor of one value."""
        loss = self.loss_function(self.model(inputs), targets)
        for parameter in self.parameters:  # what optimizer.zero_grad() does, without the profiler record it makes
            parameter.grad = None
        loss.backward()
        self.optimizer.step()
        return loss.detach()
