# Refused by: activation
# Logits between -1 and 1.

from math import prod

from torch import nn

import zoo


@zoo.model(name="tanh-module")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
            nn.Tanh(),  # here
        )

    def forward(self, inputs):
        return self.layers(inputs)
