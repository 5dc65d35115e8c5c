# Refused by: builds
# It claims all images and takes square ones.

from torch import nn

import zoo


@zoo.model(name="square-images-only")
def build(*, input_shape, num_classes):
    channels, height, width = input_shape
    assert height == width, "only square images"  # here
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
