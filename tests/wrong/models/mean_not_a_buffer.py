# Refused by: devices
# Constants as a plain attribute stay on the CPU.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="mean-not-a-buffer")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.weights = torch.linspace(0.5, 1.5, width)

    def forward(self, inputs):
        return self.head(self.features(inputs) * self.weights.to(inputs.dtype))  # here
