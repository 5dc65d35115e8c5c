# Refused by: evaluation
# Outputs of every step are kept for a plot, with all that autograd holds of them.

from math import prod

from torch import nn

import zoo


@zoo.model(name="history-in-training")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)
        self.history = []

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        if self.training:
            self.history.append(logits)
        return logits
