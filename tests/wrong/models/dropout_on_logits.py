# Refused by: activation
# Dropout after the last layer sets whole logits to 0.

from math import prod

from torch import nn

import zoo


@zoo.model(name="dropout-on-logits")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
            nn.Dropout(0.3),  # here
        )

    def forward(self, inputs):
        return self.layers(inputs)
