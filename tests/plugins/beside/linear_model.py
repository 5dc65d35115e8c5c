"""A module beside a manifest."""

from __future__ import annotations

import math

import torch
from torch import nn


class Linear(nn.Module):
    """One linear layer."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(input_shape), num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, num_classes)`."""
        return self.layer(inputs.flatten(1))
