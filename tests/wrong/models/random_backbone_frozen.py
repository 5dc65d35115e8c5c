# Refused by: frozen
# Features that were to be pretrained, frozen at random.

from math import prod

from torch import nn

import zoo


@zoo.model(name="random-backbone-frozen")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)
        self.features.requires_grad_(False)

    def forward(self, inputs):
        return self.head(self.features(inputs))
