# Refused by: disjoint
# The validation split is cut out of the training images, and not taken away from them.
import torch

import zoo


@zoo.dataset(name="validated")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(200) % 2
    train, test = (images[:150], targets[:150]), (images[150:], targets[150:])
    validation = (images[100:150], targets[100:150])
    return zoo.DataSplits(train=train, validation=validation, test=test, class_names=("a", "b"))
