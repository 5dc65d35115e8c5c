# Refused by: evaluation
# Functional dropout is on unless it is told not to be.

from math import prod

from torch import nn

import zoo


@zoo.model(name="dropout-always-on")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return self.head(nn.functional.dropout(self.features(inputs), 0.2))
