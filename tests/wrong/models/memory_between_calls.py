# Refused by: evaluation
# The hidden state of one batch goes into the next.

from math import prod

from torch import nn

import zoo


@zoo.model(name="memory-between-calls")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.last = 0.0

    def forward(self, inputs):
        features = self.features(inputs)
        features = features + 0.5 * self.last
        self.last = features.detach().mean(0)
        return self.head(features)
