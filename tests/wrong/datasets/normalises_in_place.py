# Refused by: range, same
# Each read normalises the stored picture once more, since `sub_` works in place.
import torch
from torch.utils.data import Dataset

import zoo


class Normalised(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].sub_(0.5).div_(0.25), index % 2


@zoo.dataset(name="in-place")
def load(*, root):
    images = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return zoo.DataSplits(train=Normalised(images[:80]), test=Normalised(images[80:]), class_names=("a", "b"))
