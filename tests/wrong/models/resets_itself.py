# Refused by: learns
# Each training step starts from new values.

from math import prod

from torch import nn

import zoo


@zoo.model(name="resets-itself")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        if self.training:
            self.head.reset_parameters()
            self.features[1].reset_parameters()
        return self.head(self.features(inputs))
