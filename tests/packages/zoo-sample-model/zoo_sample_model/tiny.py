"""A model of one convolution."""

from __future__ import annotations

import torch
from torch import nn


class Tiny(nn.Module):
    """One convolution, the mean over the picture, one linear layer."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, channels: int = 4) -> None:
        super().__init__()
        self.features = nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1)
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, num_classes)`."""
        return self.classify(self.features(inputs).relu().mean(dim=(2, 3)))
