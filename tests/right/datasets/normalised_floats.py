# Floats with a mean and deviation of their own for each channel, as data of ImageNet have them, and a resize.
import torch

import zoo


@zoo.dataset(name="normalised", input_shape=(3, 12, 12))
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(120, 3, 12, 12, generator=generator)
    targets = torch.arange(120) % 3
    preprocess = zoo.Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=(16, 16))
    return zoo.DataSplits(
        train=(images[:90], targets[:90]),
        test=(images[90:], targets[90:]),
        class_names=("a", "b", "c"),
        preprocess=preprocess,
    )
