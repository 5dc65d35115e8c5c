# Refused by: params
# Recommended settings that zoo does not have.

from math import prod

from torch import nn

import zoo


@zoo.model(name="recommends-nonsense", train={"learning_rate": 0.1})
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
