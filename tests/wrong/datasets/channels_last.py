# Refused by: images
# The images are channels last, as numpy and PIL have them, and are declared so too: to a model they have 32 channels.
import torch

import zoo


@zoo.dataset(name="channels-last", input_shape=(32, 32, 3))
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 32, 32, 3), generator=generator, dtype=torch.uint8)
    targets = torch.arange(60) % 3
    return zoo.DataSplits(train=(images[:40], targets[:40]), test=(images[40:], targets[40:]), class_names=list("abc"))
