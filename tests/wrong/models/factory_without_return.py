# Refused by: builds
# The factory forgets to return the model.

from math import prod

from torch import nn

import zoo


@zoo.model(name="factory-without-return")
def build(*, input_shape, num_classes):  # here
    model = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
    nn.init.zeros_(model[1].bias)
