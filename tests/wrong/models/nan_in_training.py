# Refused by: logits
# A division by zero that only training sees.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="nan-in-training")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        if self.training:
            logits = logits / torch.bernoulli(torch.full_like(logits, 0.9))
        return logits
