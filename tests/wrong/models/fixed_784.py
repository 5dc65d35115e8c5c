# Refused by: logits
# Made for 28 x 28 pixels, and claims every size.

from torch import nn

import zoo


@zoo.model(name="fixed-784")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(784, num_classes)

    def forward(self, inputs):
        return self.head(inputs.view(-1, 784))  # here
