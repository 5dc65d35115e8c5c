# Refused by: dtypes
# A matrix made in float32 in forward.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="float-constant")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)

    def forward(self, inputs):
        mix = torch.full((1, 32, 32), 0.01, device=inputs.device, dtype=torch.float32)
        features = self.features(inputs)[:, None] @ mix  # here
        return self.head(features[:, 0])
