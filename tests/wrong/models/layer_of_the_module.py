# Refused by: gradients
# A layer at the top of the file: every model shares it, no file keeps it.

from math import prod

from torch import nn

import zoo

NORM = nn.LayerNorm(32)


@zoo.model(name="layer-of-the-module")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)

    def forward(self, inputs):
        return self.head(NORM(self.features(inputs)))
