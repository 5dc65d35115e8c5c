"""The red twin."""

from __future__ import annotations

import math

import torch
from torch import nn


class RedTwin(nn.Module):
    """One linear layer; its tensors are called and shaped as the blue twin's."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(input_shape), num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, num_classes)`."""
        return self.layer(inputs.flatten(1))
