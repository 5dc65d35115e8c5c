# Refused by: logits
# Parameters in double precision, inputs in single.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="double-parameters")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes, dtype=torch.float64)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
