# Refused by: file
# A random order of pixels that no file keeps.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="pixels-shuffled")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        self.order = torch.randperm(prod(input_shape)).tolist()

    def forward(self, inputs):
        return self.head(inputs.flatten(1)[:, self.order])
