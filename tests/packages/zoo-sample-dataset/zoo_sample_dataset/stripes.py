"""Pictures of stripes, drawn when they are asked for."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

import zoo

CLASS_NAMES = ("lying", "standing")


class Stripes(Dataset):
    """Every other picture has lying stripes, the others standing ones; their places and shades differ."""

    def __init__(self, first: int, count: int, size: int) -> None:
        self.first, self.count, self.size = first, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        number = self.first + index
        target = number % 2
        picture = Image.new("L", (self.size, self.size))
        for y in range(self.size):
            for x in range(self.size):
                across = (y, x)[target] + number // 2
                picture.putpixel((x, y), (across % 2) * (255 - number))
        return picture, target


def stripes(*, root: Path, size: int = 8) -> zoo.DataSplits:
    """Return the splits; nothing is read from `root`."""
    return zoo.DataSplits(train=Stripes(0, 48, size), test=Stripes(48, 16, size), class_names=CLASS_NAMES)
