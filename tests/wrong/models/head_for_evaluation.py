# Refused by: gradients
# The head of evaluation is never trained.

from math import prod

from torch import nn

import zoo


@zoo.model(name="head-for-evaluation")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.best = nn.Linear(width, num_classes)  # here

    def forward(self, inputs):
        head = self.head if self.training else self.best
        return head(self.features(inputs))
