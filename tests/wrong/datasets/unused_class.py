# Refused by: classes
# A "background" was put in front of the names, and the labels were not moved.
import torch

import zoo


@zoo.dataset(name="leaves")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (300, 3, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(300) % 3
    names = ["background", "oak", "beech", "birch"]
    return zoo.DataSplits(train=(images[:240], targets[:240]), test=(images[240:], targets[240:]), class_names=names)
