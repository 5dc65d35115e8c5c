# Refused by: settings
# Python's generator for the whole process.

import random
from math import prod

from torch import nn

import zoo


@zoo.model(name="python-seed")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        random.seed(0)
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
