# Refused by: gradients
# A step in numpy cuts the gradients.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="numpy-round-trip")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.features(inputs).detach().numpy()
        return self.head(torch.from_numpy(features.clip(max=6)))
