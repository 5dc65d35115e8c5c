# Refused by: disjoint
# The test split is the last fifth of the data, and the training split is all of them.
import torch

import zoo


@zoo.dataset(name="all-of-it")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(500, 1, 8, 8, generator=generator)
    targets = torch.randint(5, (500,), generator=generator)
    split = int(0.8 * len(images))
    return zoo.DataSplits(train=(images, targets), test=(images[split:], targets[split:]), class_names=list("abcde"))
