# Refused by: same
# Each build converts its file once more and writes it back, so that the second build reads what the first one made.
import torch

import zoo


@zoo.dataset(name="rewritten")
def load(*, root):
    path = root / "rewritten.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(bytes((number * 37 + number // 64) % 251 for number in range(100 * 64)))
    images = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).view(100, 1, 8, 8)
    images = 255 - images
    path.write_bytes(bytes(images.flatten().tolist()))
    targets = torch.arange(100) % 2
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=("a", "b"))
