# Refused by: gradients
# An exponential average of the head answers, and only that head is trained through .data.

from math import prod

from torch import nn

import zoo


@zoo.model(name="last-layer-clone")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)  # here

    def forward(self, inputs):
        return nn.functional.linear(self.features(inputs), self.head.weight.data, self.head.bias)
