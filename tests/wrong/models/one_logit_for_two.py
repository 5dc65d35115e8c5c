# Refused by: logits
# One logit for two classes, as binary cross-entropy has it.

from math import prod

from torch import nn

import zoo


@zoo.model(name="one-logit-for-two")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), 1 if num_classes == 2 else num_classes)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
