# A recurrent network that reads a picture row by row.

from torch import nn

import zoo


@zoo.model(name="rows-in-turn", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        self.cell = nn.GRU(input_shape[0] * input_shape[2], width, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        rows = inputs.transpose(1, 2).flatten(2)
        return self.head(self.cell(rows)[0][:, -1])
