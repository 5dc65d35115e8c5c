# Refused by: claims
# The counts are those of the paper; the files hold fewer.
import torch

import zoo


@zoo.dataset(name="cells", samples={"train": 100, "test": 20})
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (118, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(118) % 2
    return zoo.DataSplits(
        train=(images[:98], targets[:98]), test=(images[98:], targets[98:]), class_names=("alive", "dead")
    )
