# Refused by: seed
# Every second model is another one.

from itertools import count
from math import prod

from torch import nn

import zoo

builds = count()


@zoo.model(name="counts-its-builds")
def build(*, input_shape, num_classes):  # here
    model = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
    nn.init.constant_(model[1].bias, 0.1 * next(builds))
    return model
