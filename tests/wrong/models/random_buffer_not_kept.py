# Refused by: file
# A random buffer that is left out of the file.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="random-buffer-not-kept")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.register_buffer("mix", torch.randn(width, width) / width**0.5, persistent=False)

    def forward(self, inputs):
        return self.head(self.features(inputs) @ self.mix)
