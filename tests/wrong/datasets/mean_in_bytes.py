# Refused by: range
# mean and std were worked out on the bytes, and are taken from values that were divided by 255 before.
import torch

import zoo


@zoo.dataset(name="byte-mean")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 3, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 2
    preprocess = zoo.Preprocess(mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    return zoo.DataSplits(
        train=(images[:80], targets[:80]),
        test=(images[80:], targets[80:]),
        class_names=("a", "b"),
        preprocess=preprocess,
    )
