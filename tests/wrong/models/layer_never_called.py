# Refused by: gradients
# A second head that forward forgot.

from math import prod

from torch import nn

import zoo


@zoo.model(name="layer-never-called")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.norm = nn.LayerNorm(width)  # here

    def forward(self, inputs):
        return self.head(self.features(inputs))
