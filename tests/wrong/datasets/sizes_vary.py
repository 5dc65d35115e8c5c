# Refused by: images
# The photographs have the size they were taken in: no batch can be made of them.
from PIL import Image
from torch.utils.data import Dataset

import zoo


class Photographs(Dataset):
    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        number = self.first + index
        colour = (number * 7 % 256, number * 13 % 256, number * 29 % 256)
        return Image.new("RGB", (16 + number % 5, 16), colour), number % 2


@zoo.dataset(name="photographs")
def load(*, root):
    return zoo.DataSplits(train=Photographs(0, 60), test=Photographs(60, 20), class_names=("a", "b"))
