# Refused by: evaluation
# Noise that evaluation was to be spared.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="noise-always-on")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.features(inputs)
        return self.head(features + 0.1 * torch.randn_like(features))
