# Refused by: seed
# A backbone that is built once for all models.

from torch import nn

import zoo

BACKBONES = {}


@zoo.model(name="shared-backbone", input_shape=("*", "*", "*"))
def build(*, input_shape, num_classes, width=16):  # here
    channels = input_shape[0]
    if channels not in BACKBONES:
        BACKBONES[channels] = nn.Conv2d(channels, width, kernel_size=3, stride=2)
    head = (nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(width * 16, num_classes))
    return nn.Sequential(BACKBONES[channels], nn.ReLU(), *head)
