# Refused by: gradients
# A layer that only a function knows.

from math import prod

from torch import nn

import zoo


def make_head(width, num_classes):
    head = nn.Linear(width, num_classes)  # here
    return lambda features: head(features.relu())


@zoo.model(name="layer-in-closure")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = make_head(width, num_classes)

    def forward(self, inputs):
        return self.head(self.features(inputs))
