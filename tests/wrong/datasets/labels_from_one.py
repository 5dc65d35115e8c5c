# Refused by: builds
# The labels of the file run from 1 to 4, and nobody took one off.
import torch

import zoo


@zoo.dataset(name="digits-from-one", class_names=("one", "two", "three", "four"))
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (400, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(400) % 4 + 1
    return zoo.DataSplits(
        train=(images[:300], labels[:300]),
        test=(images[300:], labels[300:]),
        class_names=("one", "two", "three", "four"),
    )
