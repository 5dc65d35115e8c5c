# Refused by: activation
# A ReLU as maximum with 0.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="maximum-of-zero")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, inputs):
        logits = self.layers(inputs)
        return torch.maximum(logits, torch.zeros_like(logits))  # here
