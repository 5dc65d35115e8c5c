# Refused by: settings
# __getitem__ seeds torch to draw the same crop each time; what the training draws after it is the same in every step.
import torch
from torch.utils.data import Dataset

import zoo


class Crops(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        torch.manual_seed(index)
        top, left = torch.randint(4, (2,)).tolist()
        return self.images[index, :, top : top + 8, left : left + 8], index % 2


@zoo.dataset(name="seeded-crops")
def load(*, root):
    images = torch.randint(256, (40, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return zoo.DataSplits(train=Crops(images[:30]), test=Crops(images[30:]), class_names=("cat", "dog"))
