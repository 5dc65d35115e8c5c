# Refused by: seed
# Noise in training from a generator that no seed reaches.

from math import prod

import numpy as np
import torch
from torch import nn

import zoo


@zoo.model(name="noise-of-its-own")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        self.generator = np.random.default_rng()

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        if self.training:
            noise = self.generator.normal(0, 0.1, tuple(logits.shape))
            logits = logits + torch.as_tensor(noise, dtype=logits.dtype, device=logits.device)
        return logits
