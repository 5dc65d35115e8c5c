# Refused by: evaluation
# A list that grows with every batch until the memory is full.

from math import prod

from torch import nn

import zoo


@zoo.model(name="keeps-all-features")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.seen = []

    def forward(self, inputs):
        features = self.features(inputs)
        self.seen.append(features.detach())
        return self.head(features)
