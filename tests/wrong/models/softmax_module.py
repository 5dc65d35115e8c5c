# Refused by: activation
# Probabilities instead of logits: the loss applies softmax again.

from math import prod

from torch import nn

import zoo


@zoo.model(name="softmax-module")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
            nn.Softmax(dim=1),  # here
        )

    def forward(self, inputs):
        return self.layers(inputs)
