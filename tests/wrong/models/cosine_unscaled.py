# Refused by: activation
# Cosines as logits without a scale: the loss cannot fall.

from math import prod

from torch import nn
from torch.nn.functional import linear, normalize

import zoo


@zoo.model(name="cosine-unscaled")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), width))
        self.head = nn.Linear(width, num_classes, bias=False)

    def forward(self, inputs):
        return linear(normalize(self.features(inputs)), normalize(self.head.weight))
