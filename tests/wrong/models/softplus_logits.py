# Refused by: activation
# Positive logits for a later division.

from math import prod

from torch import nn

import zoo


@zoo.model(name="softplus-logits")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, inputs):
        return nn.functional.softplus(self.layers(inputs))  # here
