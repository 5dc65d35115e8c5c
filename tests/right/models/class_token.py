# Attention over patches with a class token and positions computed as sines and cosines.

import torch
from torch import nn

import zoo


@zoo.model(name="class-token", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=32):
        super().__init__()
        patch = 8
        tokens = (input_shape[1] // patch) * (input_shape[2] // patch)
        self.embed = nn.Conv2d(input_shape[0], width, kernel_size=patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        angles = torch.arange(tokens)[:, None] / 100 ** torch.linspace(0, 1, width // 2)
        self.register_buffer("positions", torch.cat((angles.sin(), angles.cos()), dim=1), persistent=False)
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        patches = self.embed(inputs).flatten(2).transpose(1, 2) + self.positions
        tokens = torch.cat((self.token.expand(len(inputs), -1, -1), patches), dim=1)
        return self.head(self.layer(tokens)[:, 0])
