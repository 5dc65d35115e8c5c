"""A plugin in one file: `--plugin my_cnn.py`."""

from __future__ import annotations

import torch
from torch import nn

import zoo


@zoo.model(name="my-cnn", description="A convolution in a file of one's own", params={"channels": 8})
class MyCNN(nn.Module):
    """One convolution over the picture, one linear layer over all of it."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, channels: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )
        self.layers(torch.zeros(1, *input_shape))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, num_classes)`."""
        return self.layers(inputs)
