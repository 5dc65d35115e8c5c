# Refused by: seed
# Initial values from the clock.

import time
from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="seed-of-the-clock")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        generator = torch.Generator().manual_seed(time.time_ns() % 2**31)
        nn.init.normal_(self.head.weight, 0, 0.01, generator=generator)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
