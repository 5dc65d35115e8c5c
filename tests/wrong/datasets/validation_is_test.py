# Refused by: disjoint
# The test split is given as validation as well: what chooses the model is then no test any more.
import torch

import zoo


@zoo.dataset(name="tested-twice")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(200) % 2
    train, test = (images[:150], targets[:150]), (images[150:], targets[150:])
    return zoo.DataSplits(train=train, validation=test, test=test, class_names=("a", "b"))
