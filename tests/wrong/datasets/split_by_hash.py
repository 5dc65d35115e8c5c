# Refused by: processes
# A picture belongs to the test split when the hash of its name says so; hash() of a text differs in each process.
import torch

import zoo


@zoo.dataset(name="hashed")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(200) % 2
    test = torch.tensor([hash(f"picture-{number}.png") % 5 == 0 for number in range(200)])
    return zoo.DataSplits(
        train=(images[~test], targets[~test]), test=(images[test], targets[test]), class_names=("a", "b")
    )
