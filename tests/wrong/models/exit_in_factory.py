# Refused by: builds
# A script's way to complain.

import sys
from math import prod

from torch import nn

import zoo


@zoo.model(name="exit-in-factory")
def build(*, input_shape, num_classes):
    if input_shape[0] != 3:
        print("only colour images")
        sys.exit(1)  # here
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
