# Refused by: file
# The number of layers is drawn: a saved model meets another one.

import random
from math import prod

from torch import nn

import zoo


@zoo.model(name="depth-by-chance")
def build(*, input_shape, num_classes, width=32):
    layers = [nn.Flatten(), nn.Linear(prod(input_shape), width)]
    for _ in range(random.randint(1, 9)):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
