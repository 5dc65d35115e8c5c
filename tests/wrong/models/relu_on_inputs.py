# Refused by: inputs
# The first layer works in place on the caller's batch.

from math import prod

from torch import nn

import zoo


@zoo.model(name="relu-on-inputs")
def build(*, input_shape, num_classes):
    clip = nn.Hardtanh(-2, 2, inplace=True)  # here
    return nn.Sequential(clip, nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
