# Refused by: seed
# Layers in a set: their order is that of their addresses in memory.

from math import prod

from torch import nn

import zoo


@zoo.model(name="layers-in-a-set")
def build(*, input_shape, num_classes, width=32):
    hidden = {nn.Linear(width, width), nn.Tanh(), nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)}
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), *hidden, nn.Linear(width, num_classes))
