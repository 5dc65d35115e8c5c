# Refused by: devices
# A token made on the CPU in forward.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="zeros-on-the-cpu")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.features(inputs)
        start = torch.zeros(len(inputs), 1, dtype=features.dtype)
        return self.head(torch.cat((start, features[:, 1:]), dim=1))  # here
