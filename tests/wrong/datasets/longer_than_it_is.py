# Refused by: builds
# __len__ counts the header line of the table too, so the last sample is not there.
import torch
from torch.utils.data import Dataset

import zoo


class Table(Dataset):
    def __init__(self, count, seed):
        self.lines = ["pixels,label"] + [f"{seed + number},{number % 2}" for number in range(count)]

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        seed, label = self.lines[index + 1].split(",")
        generator = torch.Generator().manual_seed(int(seed))
        return torch.randint(256, (1, 8, 8), generator=generator, dtype=torch.uint8), int(label)


@zoo.dataset(name="table")
def load(*, root):
    return zoo.DataSplits(train=Table(60, 0), test=Table(20, 100), class_names=("a", "b"))
