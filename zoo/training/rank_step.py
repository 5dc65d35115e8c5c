"""The step of a rank: one update of a model from one batch, of which several processes have a part each.

The gradients of all ranks are added up in one piece, after the backward pass, with the loss and the few numbers by
which the ranks agree: one call a step. docs/design/decisions.md says why not by DistributedDataParallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.training.careful_step import CarefulStep
from zoo.training.group import Group


class Gradients:
    """The gradients of some parameters in one piece of memory, so that one call adds up those of all ranks.

    `sums` lie behind them, numbers of the device, and then `notes`, those that this process knows by itself, unless
    they are to travel `apart`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device, *, apart: bool = False) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        dtype = torch.float32
        for parameter in self.parameters:
            dtype = torch.promote_types(dtype, parameter.dtype)
        sizes = [parameter.numel() for parameter in self.parameters]
        sums, notes = 2, 4 + len(sizes)
        behind = 0 if apart else notes
        self.flat = torch.zeros(sum(sizes) + sums + behind, dtype=dtype, device=device)
        *parts, self.sums, rest = self.flat.split([*sizes, sums, behind])
        self.notes = torch.zeros(notes, dtype=torch.float64) if apart else rest
        self.views = [_lay_alike(part, each) for part, each in zip(parts, self.parameters, strict=True)]
        self.tail = self.flat[sum(sizes) :]

    def collect(self) -> list[bool]:
        """Copy the gradients of the parameters here; return which of them have one."""
        there = [parameter.grad is not None for parameter in self.parameters]
        if not all(there):
            self.flat.zero_()
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        if gradients:
            torch._foreach_copy_([view for view, found in zip(self.views, there, strict=True) if found], gradients)
        return there

    def give_back(self, there: Sequence[float]) -> None:
        """Let the parameters of which any rank had a gradient have the sum of them all."""
        for parameter, view, ranks in zip(self.parameters, self.views, there, strict=True):
            parameter.grad = view.to(parameter.dtype) if ranks else None


def _lay_alike(part: Tensor, parameter: Tensor) -> Tensor:
    """Return a piece of memory in the shape of a parameter, its values in the same order."""
    dense = sorted(zip(parameter.stride(), parameter.shape, strict=True))
    size = 1
    for stride, length in dense:
        if length > 1 and stride != size:
            return part.view(parameter.shape)
        size *= length
    return part.as_strided(parameter.shape, parameter.stride())


class RankStep(CarefulStep):
    """A step of one of several ranks, which has a part of each batch: loss and gradients are those of the whole."""

    def __init__(self, group: Group, *parts: Any) -> None:
        super().__init__(*parts)
        self.group, self.weighted = group, True
        self.gradients = Gradients(self.parameters, group.device, apart=group.is_split)
        self.total = 0
        """The samples of the last batch, of all ranks."""

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradients of this rank's part of a batch; update all ranks alike after as many as the settings say.

        A part may be empty. Return the mean loss of the whole batch.
        """
        if not self.batches:
            self.forget()
        weight = self.weigh(targets)
        if not len(targets):
            # A scaler knows no scale until it has seen a loss.
            loss = self.scaler.scale(torch.zeros((), device=self.group.device))
        elif self.capture is not None:
            loss = self.capture(inputs, targets, weight)
        else:
            loss = self.differentiate(self.model, inputs, targets, weight)
        self.batches += 1
        whole = self.batches == self.config.accumulate
        loss, weight, self.total = self.group.exchange(self.gradients, loss, weight, len(targets), whole=whole)
        self.samples = self.samples + weight
        if whole:
            self.complete()
        return loss

    def count(self, targets: Tensor) -> int:
        """Return how many samples the batch has that was just trained on, those of all ranks."""
        return self.total

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch with `left` batches to come; `steps` are those of the whole training from here on."""
        super().start(epoch, left, steps)
        if sum(parameter.requires_grad for parameter in self.parameters) != len(self.gradients.parameters):
            self.gradients = Gradients(self.parameters, self.group.device, apart=self.group.is_split)

    def finish(self) -> None:
        """End an epoch: update by the gradients of the batches since the last update, if there are any."""
        if self.batches:
            self.group.exchange(self.gradients, torch.zeros((), device=self.group.device), 0, 0, whole=True)
        super().finish()
