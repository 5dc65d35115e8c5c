# Refused by: workers
# The class is defined inside the factory, where no other process finds it.
import torch
from torch.utils.data import Dataset

import zoo


@zoo.dataset(name="local")
def load(*, root):
    images = torch.randint(256, (90, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)

    class Part(Dataset):
        def __init__(self, start, stop):
            self.start, self.stop = start, stop

        def __len__(self):
            return self.stop - self.start

        def __getitem__(self, index):
            return images[self.start + index], index % 3

    return zoo.DataSplits(train=Part(0, 60), test=Part(60, 90), class_names=list("abc"))
