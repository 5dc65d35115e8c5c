# Refused by: gradients
# Features under no_grad, though nothing trained them.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="features-without-grad")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        with torch.no_grad():
            features = self.features(inputs)
        return self.head(features)
