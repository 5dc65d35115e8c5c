# Refused by: evaluation
# A method for predictions that became forward: training never comes back.

from math import prod

from torch import nn

import zoo


@zoo.model(name="eval-in-forward")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.drop = nn.Dropout(0.2)

    def forward(self, inputs):
        self.eval()
        return self.head(self.drop(self.features(inputs)))
