# Refused by: settings
# A debugging aid left on.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="detect-anomaly")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        torch.autograd.set_detect_anomaly(True)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
