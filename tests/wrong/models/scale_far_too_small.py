# Refused by: activation
# A scale that no learning rate makes up for.

from math import prod

from torch import nn

import zoo


@zoo.model(name="scale-far-too-small")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return 1e-7 * self.head(inputs.flatten(1))
