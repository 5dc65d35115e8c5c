# The same without a scale: 12 of 16 bits are pale inputs, which is no mistake.
import torch

import zoo


@zoo.dataset(name="pale-x-rays")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(4096, (80, 1, 10, 10), generator=generator).to(torch.uint16)
    targets = torch.arange(80) % 2
    train, test = (images[:60], targets[:60]), (images[60:], targets[60:])
    return zoo.DataSplits(train=train, test=test, class_names=("healthy", "ill"))
