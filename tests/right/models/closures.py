# Layers that are called through functions kept as attributes.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="closures")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Linear(prod(input_shape), width)
        self.head = nn.Linear(width, num_classes)
        self.steps = [lambda x: x.flatten(1), self.features, torch.tanh, self.head]

    def forward(self, inputs):
        for step in self.steps:
            inputs = step(inputs)
        return inputs
