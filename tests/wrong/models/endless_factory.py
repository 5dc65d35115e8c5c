# Refused by: builds
# A search that never ends.

from math import prod

from torch import nn

import zoo


@zoo.model(name="endless-factory")
def build(*, input_shape, num_classes, width=32):
    while width % 5:
        width += 10
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU(), nn.Linear(width, num_classes))
