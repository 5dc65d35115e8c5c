# Refused by: settings
# Gradients switched off for the whole process.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="gradient-mode")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        torch.set_grad_enabled(False)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
