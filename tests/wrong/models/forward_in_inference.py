# Refused by: gradients
# A decorator that belongs to prediction.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="forward-in-inference")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    @torch.no_grad()
    def forward(self, inputs):
        return self.head(self.features(inputs))
