# Refused by: settings
# It seeds torch for its own draws, and with it every model that is built afterwards.
import torch

import zoo


@zoo.dataset(name="seeding")
def load(*, root):
    torch.manual_seed(0)
    images = torch.randint(256, (100, 1, 8, 8), dtype=torch.uint8)
    targets = torch.randint(2, (100,))
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=("a", "b"))
