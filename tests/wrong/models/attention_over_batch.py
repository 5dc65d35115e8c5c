# Refused by: batch
# nn.MultiheadAttention takes the batch axis second by default.

from math import prod

from torch import nn

import zoo


@zoo.model(name="attention-over-batch")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.embed = nn.Linear(prod(input_shape[1:]), width)
        self.attention = nn.MultiheadAttention(width, num_heads=4)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        tokens = self.embed(inputs.flatten(2))
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))
