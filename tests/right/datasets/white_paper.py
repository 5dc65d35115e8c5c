# Black strokes on white paper: most pixels are 255.
import torch

import zoo


@zoo.dataset(name="paper")
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.full((1000, 1, 16, 16), 255, dtype=torch.uint8)
    images[torch.rand(1000, 1, 16, 16, generator=generator) < 0.03] = 0
    targets = torch.arange(1000) % 4
    train, test = (images[:600], targets[:600]), (images[600:], targets[600:])
    return zoo.DataSplits(train=train, test=test, class_names=list("abcd"))
