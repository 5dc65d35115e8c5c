# Refused by: logits
# Against a lack of memory, silently.

from math import prod

from torch import nn

import zoo


@zoo.model(name="large-batches-cut")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return self.head(inputs[:64].flatten(1))
