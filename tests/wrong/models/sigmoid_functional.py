# Refused by: activation
# One sigmoid for each class, as for several labels a picture.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="sigmoid-functional")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, inputs):
        return torch.sigmoid(self.layers(inputs))  # here
