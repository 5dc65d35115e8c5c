# Refused by: settings
# It goes into its folder to use short paths, and stays there: relative paths of the user mean something else then.
import os

import torch

import zoo


@zoo.dataset(name="chdir")
def load(*, root):
    folder = root / "chdir"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 2
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=("a", "b"))
