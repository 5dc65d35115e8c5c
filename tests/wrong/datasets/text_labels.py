# Refused by: builds
# The labels are the digits as they stand in the file names: texts, not numbers.
import torch
from torch.utils.data import Dataset

import zoo


class Digits(Dataset):
    def __init__(self, first, count):
        self.names = [f"{number % 3}_{number}.png" for number in range(first, first + count)]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        label, number = self.names[index].removesuffix(".png").split("_")
        generator = torch.Generator().manual_seed(int(number))
        return torch.randint(256, (1, 8, 8), generator=generator, dtype=torch.uint8), label


@zoo.dataset(name="named-digits")
def load(*, root):
    return zoo.DataSplits(train=Digits(0, 60), test=Digits(60, 30), class_names=("zero", "one", "two"))
