# Refused by: evaluation
# BatchNorm told to train in evaluation.

from torch import nn

import zoo


@zoo.model(name="norm-always-training", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=16):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], width, kernel_size=3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        self.norm.train()
        return self.head(self.norm(self.conv(inputs)).mean((2, 3)))
