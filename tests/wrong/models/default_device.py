# Refused by: settings
# Another default device for the whole process.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="default-device")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        torch.set_default_device("meta")

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
