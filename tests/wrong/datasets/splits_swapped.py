# Refused by: claims
# train and test are swapped: the model would learn from the few test images.
import torch

import zoo


@zoo.dataset(name="swapped", samples={"train": 160, "test": 40})
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(200) % 2
    test, train = (images[:160], targets[:160]), (images[160:], targets[160:])
    return zoo.DataSplits(train=train, test=test, class_names=("a", "b"))
