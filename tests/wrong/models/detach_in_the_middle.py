# Refused by: gradients
# A detach() left over from trying something.

from math import prod

from torch import nn

import zoo


@zoo.model(name="detach-in-the-middle")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.features(inputs).detach()
        return self.head(features)
