# Refused by: builds
# A Dataset gives its targets as floats; no run can use them.
import torch
from torch.utils.data import TensorDataset

import zoo


@zoo.dataset(name="float-items")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(100, 1, 8, 8, generator=generator)
    targets = (torch.arange(100) % 2).float()
    train, test = TensorDataset(images[:80], targets[:80]), TensorDataset(images[80:], targets[80:])
    return zoo.DataSplits(train=train, test=test, class_names=("a", "b"))
