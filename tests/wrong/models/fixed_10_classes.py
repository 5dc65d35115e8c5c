# Refused by: logits
# Ten classes whatever is asked for.

from math import prod

from torch import nn

import zoo


@zoo.model(name="fixed-10-classes")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), 10)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
