# Refused by: settings
# One thread for the whole process.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="thread-count")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        torch.set_num_threads(7)
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
