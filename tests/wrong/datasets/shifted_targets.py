# Refused by: disjoint
# An off-by-one split: each test image is the training image beside it, with another label.
import torch

import zoo


@zoo.dataset(name="off-by-one")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 2
    train = [index for index in range(100) if index % 5]
    test = [index + 1 for index in range(99) if index % 5 == 0]
    return zoo.DataSplits(
        train=(images[train], targets[train]), test=(images[test], targets[test]), class_names=("a", "b")
    )
