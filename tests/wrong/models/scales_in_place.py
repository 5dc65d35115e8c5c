# Refused by: inputs
# Centring in place shifts the data set in memory at every epoch.

from math import prod

from torch import nn

import zoo


@zoo.model(name="scales-in-place")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        inputs -= inputs.mean(dim=(1, 2, 3), keepdim=True)
        return self.head(inputs.flatten(1))
