# Refused by: settings
# The same noise in each step, and in everything else of the process.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="seed-in-forward")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        torch.manual_seed(0)  # here
        noise = 0.1 * torch.randn_like(inputs) if self.training else 0
        return self.head((inputs + noise).flatten(1))
