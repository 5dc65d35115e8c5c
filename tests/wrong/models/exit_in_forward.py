# Refused by: settings
# A hard exit takes the whole run with it.

import os
from math import prod

from torch import nn

import zoo


@zoo.model(name="exit-in-forward")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        if inputs.shape[1] != 3:
            os._exit(1)
        return self.head(inputs.flatten(1))
