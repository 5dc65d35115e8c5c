# Refused by: evaluation
# Mirrored inputs at every second call.

from math import prod

from torch import nn

import zoo


@zoo.model(name="every-second-call")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return self.head(self.features(inputs.flip(-1) if self.calls % 2 else inputs))
