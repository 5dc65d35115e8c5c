# Refused by: gradients
# A layer in a plain dict is no parameter of the model.

from math import prod

from torch import nn

import zoo


@zoo.model(name="heads-in-dict")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width), nn.ReLU())
        self.heads = {"main": nn.Linear(width, num_classes)}  # here

    def forward(self, inputs):
        return self.heads["main"](self.features(inputs))
