# Refused by: activation
# A ReLU after the last layer, as in the course's second model.

from math import prod

from torch import nn

import zoo


@zoo.model(name="relu-module")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
            nn.ReLU(),  # here
        )

    def forward(self, inputs):
        return self.layers(inputs)
