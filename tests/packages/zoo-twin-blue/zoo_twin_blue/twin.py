"""The blue twin and a metric."""

from __future__ import annotations

import math

import torch
from torch import nn


class BlueTwin(nn.Module):
    """A linear layer and a sign; its tensors are called and shaped as the red twin's."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(input_shape), num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, num_classes)`."""
        return -self.layer(inputs.flatten(1))


class Two:
    """The number two, which no share is."""

    def __init__(self, *, num_classes: int) -> None:
        pass

    def reset(self) -> None:
        """Forget nothing."""

    def update(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Take in nothing."""

    def compute(self) -> float:
        """Return the number."""
        return 2.0
