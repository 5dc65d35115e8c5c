# Refused by: dtypes
# Inputs are made float32 whatever the model is.

from math import prod

from torch import nn

import zoo


@zoo.model(name="casts-inputs")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs.float().flatten(1))  # here
