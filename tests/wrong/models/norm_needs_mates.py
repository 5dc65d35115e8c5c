# Refused by: logits
# BatchNorm without running statistics cannot take one sample.

from math import prod

from torch import nn

import zoo


@zoo.model(name="norm-needs-mates")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)
        self.norm = nn.BatchNorm1d(width, track_running_stats=False)

    def forward(self, inputs):
        return self.head(self.norm(self.features(inputs)))
