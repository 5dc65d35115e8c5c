# Refused by: seed
# A default list that every build makes longer.

from math import prod

from torch import nn

import zoo


@zoo.model(name="mutable-default")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, blocks=[]):  # noqa: B006
        super().__init__()
        blocks.append(nn.Linear(32, 32))
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 32))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(32, num_classes)

    def forward(self, inputs):
        return self.head(self.blocks(self.stem(inputs)).relu())
