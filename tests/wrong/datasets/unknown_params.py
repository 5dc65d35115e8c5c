# Refused by: params
# What is misspelt lands in **options and is ignored.
import torch

import zoo


@zoo.dataset(name="with-options")
def load(*, root, **options):
    size = options.get("size", 8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, size, size), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 2
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=("a", "b"))
