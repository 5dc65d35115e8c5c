# Refused by: inputs
# Augmentation in place, in training only.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="noise-in-place")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        if self.training:
            inputs.add_(torch.randn_like(inputs), alpha=0.1)
        return self.head(inputs.flatten(1))
