# Refused by: logits
# A forward that computes its own loss.

from math import prod

from torch import nn

import zoo


@zoo.model(name="forward-wants-targets")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs, targets):
        return nn.functional.cross_entropy(self.head(inputs.flatten(1)), targets)
