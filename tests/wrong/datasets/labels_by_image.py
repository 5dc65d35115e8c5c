# Refused by: same
# The pictures are the same in each build, and their labels are drawn anew: a target that differs is no target.
import numpy
import torch

import zoo


@zoo.dataset(name="noisy-labels")
def load(*, root):
    images = torch.randint(256, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    targets = torch.arange(200) % 4
    noisy = torch.from_numpy(numpy.random.rand(200) < 0.1)
    targets[noisy] = torch.from_numpy(numpy.random.randint(4, size=int(noisy.sum())))
    return zoo.DataSplits(
        train=(images[:160], targets[:160]), test=(images[160:], targets[160:]), class_names=list("abcd")
    )
