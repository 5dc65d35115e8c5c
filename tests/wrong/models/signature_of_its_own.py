# Refused by: params
# A factory that was never adapted to zoo's arguments.

from torch import nn

import zoo


@zoo.model(name="signature-of-its-own")
def build(in_features, out_features):  # here
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, out_features))
