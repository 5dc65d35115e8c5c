"""Rates: the learning rates of an optimizer as numbers on the device, so that a recorded update reads what they are.

The kernels of CUDA round a rate that comes from the device to float32, and one from the host otherwise. So each update
on such a device takes it from there, whether it is recorded or not, and has the same bits.
"""

from __future__ import annotations

import torch

DEVICES = {"cuda"}
"""Those on which a whole step can be recorded."""


class Rates:
    """Updates parameters at rates that `write` brings to the device; those of the groups stay plain numbers.

    So schedules and checkpoints know nothing of it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        devices = [group["params"][0].device for group in optimizer.param_groups]
        self.tensors = [torch.zeros((), dtype=torch.float32, device=device) for device in devices]

    def update(self) -> None:
        """Update the parameters at the rates of the groups."""
        self.write()
        self.step()

    def write(self, factor: float = 1.0) -> None:
        """Write the rates of the groups, times a factor, for the updates after this; it does not wait."""
        for tensor, group in zip(self.tensors, self.optimizer.param_groups, strict=True):
            tensor.fill_(group["lr"] * factor)

    def step(self, *, recorded: bool = False) -> None:
        """Update the parameters; `recorded` says that a CUDA graph records it, which torch wants to be told."""
        groups = self.optimizer.param_groups
        before = [{key: group[key] for key in group.keys() & {"lr", "capturable"}} for group in groups]
        for tensor, group in zip(self.tensors, groups, strict=True):
            group["lr"] = tensor
            if recorded and "capturable" in group:
                group["capturable"] = True
        try:
            self.optimizer.step()
        finally:
            for group, kept in zip(groups, before, strict=True):
                group.update(kept)


def make_rates(optimizer: torch.optim.Optimizer, device: torch.device) -> Rates | None:
    """Return the rates of an optimizer whose updates can be recorded on its device, None for another."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return Rates(optimizer) if fused and device.type in DEVICES else None
