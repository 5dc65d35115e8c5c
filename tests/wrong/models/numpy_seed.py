# Refused by: settings
# numpy's generator for the whole process.

from math import prod

import numpy as np
from torch import nn

import zoo


@zoo.model(name="numpy-seed")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        np.random.seed(0)
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
