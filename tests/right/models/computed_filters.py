# Frozen filters that are computed, and trained layers behind them.

import torch
from torch import nn

import zoo


@zoo.model(name="computed-filters", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.filters = nn.Conv2d(input_shape[0], 8, kernel_size=5, padding=2, bias=False)
        angles = torch.arange(8) * torch.pi / 8
        grid = torch.linspace(-1, 1, 5)
        waves = torch.sin(3 * (angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]))
        self.filters.weight = nn.Parameter(waves[:, None].repeat(1, input_shape[0], 1, 1), requires_grad=False)
        self.head = nn.Linear(8 * 16, num_classes)

    def forward(self, inputs):
        features = nn.functional.adaptive_max_pool2d(self.filters(inputs).abs(), 4)
        return self.head(features.flatten(1))
