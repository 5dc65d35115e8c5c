# Refused by: range
# The training images are normalised in the factory, the test images are not.
import torch

import zoo


@zoo.dataset(name="half-normalised")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = 0.4 + 0.1 * torch.randn(300, 1, 8, 8, generator=generator)
    targets = torch.arange(300) % 3
    train, test = images[:200], images[200:]
    train = (train - train.mean()) / train.std()
    return zoo.DataSplits(train=(train, targets[:200]), test=(test, targets[200:]), class_names=list("abc"))
