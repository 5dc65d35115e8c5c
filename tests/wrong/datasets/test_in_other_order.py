# Refused by: builds
# The names of the classes are sorted for the test, and one of its labels is not among those of the training split.
import torch
from torch.utils.data import Dataset

import zoo


class Birds(Dataset):
    def __init__(self, labels, seed):
        self.classes, self.labels, self.seed = sorted(set(labels)), labels, seed

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(self.seed + index)
        image = torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8)
        return image, self.classes.index(self.labels[index])


@zoo.dataset(name="birds")
def load(*, root):
    train, test = Birds(["crow", "duck", "gull"] * 20, 0), Birds(["crow", "duck", "gull", "owl"] * 5, 1000)
    return zoo.DataSplits(train=train, test=test, class_names=train.classes)
