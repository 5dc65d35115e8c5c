# Two of five classes have three samples each: two to learn from, one for the test.
import torch

import zoo


@zoo.dataset(name="rare", num_classes=5)
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (306, 3, 9, 9), generator=generator, dtype=torch.uint8)
    targets = torch.cat([torch.arange(300) % 3, torch.tensor([3, 3, 3, 4, 4, 4])])
    test = torch.zeros(306, dtype=torch.bool)
    test[:60], test[302], test[305] = True, True, True
    names = ("sparrow", "tit", "robin", "hoopoe", "roller")
    return zoo.DataSplits(train=(images[~test], targets[~test]), test=(images[test], targets[test]), class_names=names)
