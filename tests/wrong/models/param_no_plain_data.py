# Refused by: params
# A class as a param: no weights file can keep it.

from math import prod

from torch import nn

import zoo


@zoo.model(name="param-no-plain-data")
def build(*, input_shape, num_classes, width=32, activation=nn.ReLU):  # here
    hidden = nn.Linear(prod(input_shape), width)
    return nn.Sequential(nn.Flatten(), hidden, activation(), nn.Linear(width, num_classes))
