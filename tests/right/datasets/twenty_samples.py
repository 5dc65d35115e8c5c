# Twenty samples in all, as somebody has who tries zoo.
import torch

import zoo


@zoo.dataset(name="twenty")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 6, 6), generator=generator, dtype=torch.uint8)
    targets = torch.arange(20) % 2
    return zoo.DataSplits(train=(images[:16], targets[:16]), test=(images[16:], targets[16:]), class_names=("a", "b"))
