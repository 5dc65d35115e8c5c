# X-rays of 12 bits in files of 16: the scale says what white is.
import torch

import zoo


@zoo.dataset(name="x-rays", input_shape=(1, 10, 10))
def load(*, root):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(4096, (80, 1, 10, 10), generator=generator).to(torch.uint16)
    targets = torch.arange(80) % 2
    return zoo.DataSplits(
        train=(images[:60], targets[:60]),
        test=(images[60:], targets[60:]),
        class_names=("healthy", "ill"),
        preprocess=zoo.Preprocess(scale=4095),
    )
