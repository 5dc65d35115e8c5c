# Negative squared distances: no logit is above 0.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="prototypes")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=16):
        super().__init__()
        self.features = nn.Linear(prod(input_shape), width)
        self.prototypes = nn.Parameter(torch.randn(num_classes, width))

    def forward(self, inputs):
        distances = torch.cdist(self.features(inputs.flatten(1)), self.prototypes)
        return -distances.square()
