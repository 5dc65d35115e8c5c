# A head that starts at zero: all logits are 0, and its inputs get no gradient in the first step.

from math import prod

from torch import nn

import zoo


@zoo.model(name="head-of-zeros")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs):
        return self.head(self.features(inputs))
