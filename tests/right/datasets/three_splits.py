# With a validation split, drawn by a generator with a fixed seed, and class names from folders in sorted order.
import torch

import zoo


@zoo.dataset(name="three-splits", samples={"train": 100, "validation": 30, "test": 30})
def load(*, root):
    folder = root / "three-splits"
    for name in ("ant", "bee", "cow"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = sorted({path.name for path in folder.iterdir()})
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (160, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(160) % 3
    order = torch.randperm(160, generator=generator)
    train, validation, test = ((images[part], targets[part]) for part in order.split([100, 30, 30]))
    return zoo.DataSplits(train=train, validation=validation, test=test, class_names=names)
