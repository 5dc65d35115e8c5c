# Refused by: settings
# Another current folder for the whole process.

import os
from math import prod

from torch import nn

import zoo


@zoo.model(name="current-folder")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        os.chdir("/")
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
