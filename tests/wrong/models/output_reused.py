# Refused by: evaluation
# One output for all calls: a new one overwrites those before.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="output-reused")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        self.register_buffer("out", torch.empty(256, num_classes), persistent=False)

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        if self.training or len(logits) > len(self.out):
            return logits
        return self.out[: len(logits)].copy_(logits.detach())
