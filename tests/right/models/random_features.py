# Random Fourier features in a buffer, which every file keeps.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="random-features")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=64):
        super().__init__()
        self.register_buffer("waves", torch.randn(prod(input_shape), width) / prod(input_shape) ** 0.5)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, inputs):
        angles = inputs.flatten(1) @ self.waves
        return self.head(torch.cat((angles.sin(), angles.cos()), dim=1))
