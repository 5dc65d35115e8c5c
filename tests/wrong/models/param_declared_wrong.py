# Refused by: params
# The decorator names a param that the factory does not have.

from math import prod

from torch import nn

import zoo


@zoo.model(name="param-declared-wrong", params={"hidden": 32})
def build(*, input_shape, num_classes, width=32):
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU(), nn.Linear(width, num_classes))
