# Refused by: gradients
# A bias so low that no unit of the ReLU ever fires.

from math import prod

from torch import nn

import zoo


@zoo.model(name="dead-from-the-start")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)
        nn.init.constant_(self.features[1].bias, -100.0)

    def forward(self, inputs):
        return self.head(self.features(inputs))
