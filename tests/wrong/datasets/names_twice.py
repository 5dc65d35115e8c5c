# Refused by: classes
# Two folders of the same animal became two classes of one name.
import torch

import zoo


@zoo.dataset(name="animals")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 4
    names = ("crane", "dog", "crane", "fox")
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=names)
