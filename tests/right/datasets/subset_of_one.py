# Two subsets of one Dataset, which keeps what it has read.
import torch
from torch.utils.data import Dataset, Subset

import zoo


class Kept(Dataset):
    def __init__(self, count):
        self.count, self.kept = count, {}

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index not in self.kept:
            generator = torch.Generator().manual_seed(index)
            self.kept[index] = torch.rand(3, 8, 8, generator=generator)
        return self.kept[index], index % 10


@zoo.dataset(name="kept")
def load(*, root):
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1)).tolist()
    everything = Kept(150)
    return zoo.DataSplits(
        train=Subset(everything, order[:110]),
        test=Subset(everything, order[110:]),
        class_names=[f"class {number}" for number in range(10)],
    )
