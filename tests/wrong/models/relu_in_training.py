# Refused by: activation
# A ReLU on the logits in training only.

from math import prod

from torch import nn

import zoo


@zoo.model(name="relu-in-training")
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
        logits = self.layers(inputs)
        return logits.relu() if self.training else logits  # here
