# Refused by: gradients
# Predicted classes, spelled as numbers: argmax has no gradient.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="returns-one-hot")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        return torch.eye(logits.shape[1])[logits.argmax(1)]
