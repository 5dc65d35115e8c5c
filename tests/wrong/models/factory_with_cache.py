# Refused by: seed
# A cache hands out one model twice: a second run goes on with the first one's values.

from functools import lru_cache
from math import prod

from torch import nn

import zoo


@zoo.model(name="factory-with-cache")
@lru_cache
def build(*, input_shape, num_classes, width=32):  # here
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU(), nn.Linear(width, num_classes))
