# Refused by: evaluation
# A running mean that goes on in evaluation.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="average-in-evaluation")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, inputs):
        features = self.features(inputs)
        self.mean.lerp_(features.detach().mean(0), 0.1)
        return self.head(features - self.mean)
