# Refused by: gradients
# Layers in a plain list are no parameters of the model.

from math import prod

from torch import nn

import zoo


@zoo.model(name="layers-in-list")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, depth=2, width=32):
        super().__init__()
        self.first = nn.Linear(prod(input_shape), width)
        self.blocks = [nn.Linear(width, width) for _ in range(depth)]  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.first(inputs.flatten(1)).relu()
        for block in self.blocks:
            features = block(features).relu()
        return self.head(features)
