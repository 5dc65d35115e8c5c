# Refused by: processes
# The classes are numbered in the order of a set of texts, which differs from process to process.
import torch

import zoo

LABELS = [("ant", "bee", "cow", "dog", "eel", "fox")[number % 6] for number in range(120)]


@zoo.dataset(name="from-a-set")
def load(*, root):
    names = list(set(LABELS))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (120, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.tensor([names.index(label) for label in LABELS])
    return zoo.DataSplits(train=(images[:90], targets[:90]), test=(images[90:], targets[90:]), class_names=names)
