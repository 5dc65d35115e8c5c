# Weight norm and spectral norm: parameters under other names, and a power iteration in training.

from math import prod

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import zoo


@zoo.model(name="parametrised")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = weight_norm(nn.Linear(prod(input_shape), width))
        self.middle = spectral_norm(nn.Linear(width, width))
        self.head = weight_norm(nn.Linear(width, num_classes))

    def forward(self, inputs):
        return self.head(self.middle(self.features(inputs.flatten(1)).relu()).relu())
