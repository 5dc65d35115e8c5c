# Refused by: batch
# BatchNorm that keeps no running statistics.

from torch import nn

import zoo


@zoo.model(name="norm-without-statistics", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=16):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], width, kernel_size=3, stride=2)
        self.norm = nn.BatchNorm2d(width, track_running_stats=False)  # here
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return self.head(self.norm(self.conv(inputs)).mean((2, 3)))
