# Refused by: images
# One picture of the collection is grey, so it has one channel where the others have three.
from PIL import Image
from torch.utils.data import Dataset

import zoo


class Collection(Dataset):
    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        number = self.first + index
        image = Image.new("RGB", (16, 16), (number * 7 % 256, number * 13 % 256, number * 29 % 256))
        return (image.convert("L") if number == 33 else image), number % 2


@zoo.dataset(name="collection")
def load(*, root):
    splits = {"train": Collection(0, 60), "test": Collection(60, 20)}
    return zoo.DataSplits(**splits, class_names=("a", "b"), preprocess=zoo.Preprocess(resize=(8, 8)))
