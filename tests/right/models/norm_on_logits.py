# Batch norm with its own scale as the last layer.

from math import prod

from torch import nn

import zoo


@zoo.model(name="norm-on-logits")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        layers = (nn.Linear(prod(input_shape), width), nn.BatchNorm1d(width), nn.ReLU())
        self.features = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Sequential(nn.Linear(width, num_classes), nn.BatchNorm1d(num_classes))

    def forward(self, inputs):
        return self.head(self.features(inputs))
