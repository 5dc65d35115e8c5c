# Refused by: range
# The images are divided by 255 in the factory, and once more by the declared scale.
import torch

import zoo


@zoo.dataset(name="divided-twice")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), generator=generator).float() / 255
    targets = torch.arange(100) % 2
    return zoo.DataSplits(
        train=(images[:80], targets[:80]),
        test=(images[80:], targets[80:]),
        class_names=("a", "b"),
        preprocess=zoo.Preprocess(scale=255),
    )
