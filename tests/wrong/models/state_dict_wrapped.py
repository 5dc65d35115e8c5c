# Refused by: file
# A state dict of its own form: no program can load it.

from math import prod

from torch import nn

import zoo


@zoo.model(name="state-dict-wrapped")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(prod(input_shape), num_classes)

    def state_dict(self, *args, **kwargs):
        return {"model": super().state_dict(*args, **kwargs), "version": 2}

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
