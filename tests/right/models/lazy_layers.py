# Lazy layers that have seen a batch.

import torch
from torch import nn

import zoo


@zoo.model(name="lazy-layers", input_shape=("*", "*", "*"))
def build(*, input_shape, num_classes, width=16):
    model = nn.Sequential(
        nn.LazyConv2d(width, kernel_size=3, stride=2),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )
    with torch.no_grad():
        model.eval()(torch.zeros(1, *input_shape))
    return model.train()
