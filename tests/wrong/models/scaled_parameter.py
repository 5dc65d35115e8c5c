# Refused by: gradients
# A product of a parameter is no parameter.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="scaled-parameter")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.scale = nn.Parameter(torch.ones(num_classes)) * 10

    def forward(self, inputs):
        return self.scale * self.head(self.features(inputs))
