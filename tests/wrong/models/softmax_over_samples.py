# Refused by: activation
# Softmax over the wrong axis.

from math import prod

from torch import nn

import zoo


@zoo.model(name="softmax-over-samples")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1)).softmax(0)  # here
