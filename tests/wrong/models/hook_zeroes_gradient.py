# Refused by: gradients
# A hook that was to clip the gradient sets it to 0.

from math import prod

from torch import nn

import zoo


@zoo.model(name="hook-zeroes-gradient")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)  # here
        self.head.weight.register_hook(lambda gradient: gradient.clamp(0, 0))

    def forward(self, inputs):
        return self.head(self.features(inputs))
