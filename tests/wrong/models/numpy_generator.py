# Refused by: seed
# Initial values from a generator that no seed reaches.

from math import prod

import numpy as np
import torch
from torch import nn

import zoo


@zoo.model(name="numpy-generator")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        values = np.random.default_rng().normal(0, 0.01, self.head.weight.shape)
        self.head.weight.data = torch.tensor(values, dtype=torch.float32)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
