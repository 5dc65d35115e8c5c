# Refused by: activation
# The block of activation and layer the wrong way round.

from math import prod

from torch import nn

import zoo


@zoo.model(name="gelu-head")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
            nn.GELU(),  # here
        )

    def forward(self, inputs):
        return self.layers(inputs)
