# Refused by: builds
# Built on the author's GPU.

from math import prod

from torch import nn

import zoo


@zoo.model(name="cuda-only")
def build(*, input_shape, num_classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
    return model.to("cuda:7")  # here
