# Refused by: logits
# A table made for the author's batch size.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="batch-of-32-at-most")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        self.bias = nn.Parameter(torch.zeros(32, num_classes))

    def forward(self, inputs):
        return self.head(inputs.flatten(1)) + self.bias[: len(inputs)]  # here
