# Refused by: builds
# The limit for quick experiments cuts the test split to nothing.
import torch

import zoo


@zoo.dataset(name="cut", params={"limit": 90})
def load(*, root, limit=90):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)[:limit]
    targets = (torch.arange(100) % 2)[:limit]
    return zoo.DataSplits(train=(images[:90], targets[:90]), test=(images[90:], targets[90:]), class_names=("a", "b"))
