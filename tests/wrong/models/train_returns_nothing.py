# Refused by: logits
# A train() of its own that forgets to return the model.

from math import prod

from torch import nn

import zoo


@zoo.model(name="train-returns-nothing")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def train(self, mode=True):  # here
        super().train(mode)
        self.head.eval()

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
