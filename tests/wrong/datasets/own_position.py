# Refused by: same
# It reads on from where it stands instead of reading the sample that was asked for.
import torch
from torch.utils.data import Dataset

import zoo


class Reader(Dataset):
    def __init__(self, images):
        self.images, self.position = images, -1

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.position = (self.position + 1) % len(self.images)
        return self.images[self.position], self.position % 2


@zoo.dataset(name="reads-on")
def load(*, root):
    images = torch.randint(256, (96, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return zoo.DataSplits(train=Reader(images[:64]), test=Reader(images[64:]), class_names=("a", "b"))
