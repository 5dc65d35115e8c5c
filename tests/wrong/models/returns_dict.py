# Refused by: logits
# An output as some libraries have it.

from math import prod

from torch import nn

import zoo


@zoo.model(name="returns-dict")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        return {"logits": self.head(inputs.flatten(1))}
