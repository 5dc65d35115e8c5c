# Refused by: offline
# Nothing is fetched when it is built; each picture is looked for on the network when it is read.
import contextlib
import socket

import torch
from torch.utils.data import Dataset

import zoo


class Remote(Dataset):
    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        generator = torch.Generator().manual_seed(self.first + index)
        return torch.randint(256, (1, 8, 8), generator=generator, dtype=torch.uint8), index % 2


@zoo.dataset(name="remote")
def load(*, root):
    return zoo.DataSplits(train=Remote(0, 40), test=Remote(40, 20), class_names=("a", "b"))
