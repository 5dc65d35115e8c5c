# Refused by: offline
# Each build asks the server for the newest version, whether the data are there or not.
import contextlib
import urllib.request

import torch

import zoo


@zoo.dataset(name="always-newest")
def load(*, root):
    version = "1.0"
    with contextlib.suppress(OSError):
        version = urllib.request.urlopen("http://127.0.0.1:9/version.txt", timeout=1).read().decode()
    generator = torch.Generator().manual_seed(len(version))
    images = torch.randint(256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)
    targets = torch.arange(100) % 2
    return zoo.DataSplits(train=(images[:80], targets[:80]), test=(images[80:], targets[80:]), class_names=("a", "b"))
