# Refused by: builds
# Lazy layers have no shape before the first batch: no optimizer can take them.

from torch import nn

import zoo


@zoo.model(name="lazy-layers-left")
def build(*, input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(num_classes))  # here
