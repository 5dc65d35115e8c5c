# A model that says what it cannot take.

from torch import nn

import zoo


@zoo.model(name="refuses-small-images", input_shape=("*", "*", "*"))
def build(*, input_shape, num_classes, width=8):
    if min(input_shape[1:]) < 32:
        raise zoo.UsageError(f"images of {input_shape}", "sides of at least 32 are needed")
    layers = []
    channels = input_shape[0]
    for step in range(4):
        layers += [nn.Conv2d(channels, width << step, kernel_size=3, stride=2, padding=1), nn.ReLU()]
        channels = width << step
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
