# Blocks that are left out by chance in training, each in four steps of five.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="stochastic-depth")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32, depth=6):
        super().__init__()
        self.stem = nn.Linear(prod(input_shape), width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.stem(inputs.flatten(1))
        for block in self.blocks:
            if not self.training or torch.rand(()) < 0.2:
                features = features + block(features).relu()
        return self.head(features)
