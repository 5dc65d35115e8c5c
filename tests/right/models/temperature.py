# A learnt temperature behind the head.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="temperature")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Linear(prod(input_shape), width)
        self.head = nn.Linear(width, num_classes)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        return self.log_scale.exp() * self.head(self.features(inputs.flatten(1)).relu())
