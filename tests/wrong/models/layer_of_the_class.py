# Refused by: gradients
# A layer that all models share, and no optimizer sees.

from math import prod

from torch import nn

import zoo


@zoo.model(name="layer-of-the-class")
class Model(nn.Module):
    norm = nn.LayerNorm(32)

    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)

    def forward(self, inputs):
        return self.head(self.norm(self.features(inputs)))
