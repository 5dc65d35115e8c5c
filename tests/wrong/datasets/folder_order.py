# Refused by: same
# The classes are numbered in the order in which the folder lists them, which differs between file systems.
import torch

import zoo


@zoo.dataset(name="listed")
def load(*, root):
    folder = root / "listed"
    for name in ("ant", "bee", "cow"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = [path.name for path in folder.iterdir()]
    images = torch.stack([torch.full((1, 8, 8), 2 * n + 80 * (ord(names[n % 3][0]) - 97)) for n in range(36)])
    targets = torch.arange(36) % 3
    images = images.to(torch.uint8)
    return zoo.DataSplits(train=(images[:24], targets[:24]), test=(images[24:], targets[24:]), class_names=names)
