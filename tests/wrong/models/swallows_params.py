# Refused by: params
# Misspelt params are ignored.

from math import prod

from torch import nn

import zoo


@zoo.model(name="swallows-params")
def build(*, input_shape, num_classes, **params):  # here
    width = params.get("width", 32)
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU(), nn.Linear(width, num_classes))
