# Refused by: gradients
# Binary features: sign() has no gradient.

from math import prod

from torch import nn

import zoo


@zoo.model(name="sign-in-the-middle")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return self.head(self.features(inputs).sign())
