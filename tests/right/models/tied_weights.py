# An encoder and a decoder that share one weight, and a head of its own.

from math import prod

from torch import nn

import zoo


@zoo.model(name="tied-weights")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.encode = nn.Linear(prod(input_shape), width)
        self.again = nn.Linear(width, width)
        self.once_more = nn.Linear(width, width)
        self.once_more.weight = self.again.weight
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.encode(inputs.flatten(1)).relu()
        return self.head(self.once_more(self.again(features).relu()).relu())
