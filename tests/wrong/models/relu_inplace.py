# Refused by: activation
# A ReLU by method, in place on the logits.

from math import prod

from torch import nn

import zoo


@zoo.model(name="relu-inplace")
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
        return self.layers(inputs).relu_()  # here
