"""Finite: whether all numbers of a model still are, asked after each epoch.

A loss does not tell: running statistics that overflow make a layer of normalisation give zeros, and the loss of zeros
is a number. Weights with such values are refused by whoever reads them.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from zoo.errors import DivergedError, quote

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def list_infinite(model: nn.Module) -> list[str]:
    """Return the names of the tensors of a model that have a value which is infinite or no number."""
    named = {
        name: value.detach()
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and value.dtype in TYPES and value.numel()
    }
    if not named:
        return []
    finite = torch.stack([torch.isfinite(torch.stack(value.aminmax())).all() for value in named.values()])
    return [name for name, is_finite in zip(named, finite.tolist(), strict=True) if not is_finite]


def check_finite(model: nn.Module, known: Collection[str], epoch: int) -> None:
    """Raise DivergedError where a tensor has such a value after an epoch, but for those that are known to have some."""
    for name in list_infinite(model):
        if name not in known:
            bad = int((~torch.isfinite(model.state_dict()[name])).sum())
            told = "1 value that is" if bad == 1 else f"{bad} values that are"
            what = f"{quote(name)} of the model has {told} not finite"
            raise DivergedError(f"{what} after epoch {epoch}", fix="Give lr=... a lower value")
