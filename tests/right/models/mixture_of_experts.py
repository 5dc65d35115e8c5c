# A few experts, each sample goes to the best one.

from math import prod

import torch
from torch import nn

import zoo


@zoo.model(name="mixture-of-experts")
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, experts=4):
        super().__init__()
        self.gate = nn.Linear(prod(input_shape), experts)
        self.experts = nn.ModuleList(nn.Linear(prod(input_shape), num_classes) for _ in range(experts))

    def forward(self, inputs):
        flat = inputs.flatten(1)
        weight, chosen = self.gate(flat).softmax(dim=1).max(dim=1)
        every = torch.stack([expert(flat) for expert in self.experts], dim=1)
        return every[torch.arange(len(flat), device=flat.device), chosen] * weight[:, None]
