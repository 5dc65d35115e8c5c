# A leaky ReLU on the logits lets both directions through.

from math import prod

from torch import nn

import zoo


@zoo.model(name="leaky-head")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Linear(prod(input_shape), width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return nn.functional.leaky_relu(self.head(self.features(inputs.flatten(1)).relu()), 0.2)
