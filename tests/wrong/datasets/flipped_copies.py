# Refused by: disjoint
# Mirrored copies double the data before the split: most test images have their mirror image in the training split.
import torch

import zoo


@zoo.dataset(name="mirrored")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.randint(2, (200,), generator=generator)
    images, targets = torch.cat([images, images.flip(3)]), torch.cat([targets, targets])
    order = torch.randperm(400, generator=generator)
    train, test = order[:300], order[300:]
    return zoo.DataSplits(
        train=(images[train], targets[train]), test=(images[test], targets[test]), class_names=("no", "yes")
    )
