# Refused by: learns
# Samples change places in training, targets do not.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="rows-shuffled-in-training")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.features(inputs)
        if self.training:
            features = features[torch.randperm(len(features), device=features.device)]
        return self.head(features)
