"""Training on picture files: what they cost beside tensors in memory, and how fast they are decoded the first time.

From the second epoch on, the same training is timed on tensors in memory and on pictures that are kept decoded. The
first time, the pictures are decoded by all cores and kept; beside that, as many workers of a DataLoader call
`torchvision.io.decode_jpeg` and keep nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy
import torch
from measure import alternate, check_ratio, find_ratio, make_parser
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import zoo
from zoo.data.fitted import fit_splits
from zoo.data.survey import survey
from zoo.data.workers import count_cores

EPOCH_LIMIT, DECODE_LIMIT = 1.1, 1 / 0.9
CLASSES, SIDE, BATCH = 4, 256, 32
PREPROCESS = zoo.Preprocess(resize=SIDE, crop=(224, 224), rounded=True)


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write pictures of noise on shapes as JPEGs, a folder for each class."""
    random, files = numpy.random.default_rng(0), []
    ramp = numpy.linspace(0, 1, SIDE)
    for number in range(count):
        waves = [numpy.sin(ramp * random.uniform(5, 40) + random.uniform(0, 6)) for _ in range(6)]
        planes = [numpy.outer(waves[band], waves[band + 3]) * 100 + 128 for band in range(3)]
        pixels = numpy.stack(planes, axis=-1) + random.normal(0, 12, (SIDE, SIDE, 3))
        file = folder / f"class{number % CLASSES}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(file, quality=90)
        files.append(file)
    return files


def make_splits(files: list[Path]) -> zoo.DataSplits:
    files = sorted(files, key=lambda file: file.name)  # their classes take turns
    targets = [int(file.parent.name.removeprefix("class")) for file in files]
    return zoo.DataSplits(
        train=zoo.ImageFiles(files, targets),
        test=zoo.ImageFiles(files[:CLASSES], targets[:CLASSES]),
        class_names=[f"class{number}" for number in range(CLASSES)],
        preprocess=PREPROCESS,
    )


def open_kept(files: list[Path]) -> tuple[Tensor, Tensor]:
    """Return the pictures as a run has them: decoded once, and mapped from the disk."""
    tried = survey("pictures", make_splits(files), PREPROCESS, (3, SIDE, SIDE))
    split = fit_splits(tried, PREPROCESS, (3, SIDE, SIDE))[0].train
    if not isinstance(split, tuple):
        raise SystemExit("the pictures are not kept decoded: is the disk full?")
    return split


def time_training(split: tuple[Tensor, Tensor]) -> float:
    """Return the seconds of an epoch of the smallest model, which hides least of what reading costs."""
    torch.manual_seed(0)
    model = zoo.create_model("baseline", input_shape=(3, 224, 224), num_classes=CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = zoo.make_loader(split, batch_size=BATCH, shuffle=True, preprocess=PREPROCESS)
    loader.epoch = 1
    started = perf_counter()
    for inputs, targets in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return perf_counter() - started


class DecodedJpegs(Dataset[Tensor]):
    """What one writes by hand: an index is a file, read and decoded by torchvision."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        return decode_jpeg(read_file(str(self.files[index])), mode=ImageReadMode.RGB)


def time_torchvision(files: list[Path]) -> float:
    """Return the seconds in which as many workers as there are cores decode all files into batches."""
    import torchvision.io  # noqa: F401 what it takes to import it is not timed

    started = perf_counter()
    for _ in DataLoader(DecodedJpegs(files), batch_size=BATCH, num_workers=count_cores()):
        pass
    return perf_counter() - started


def time_first_pass(files: list[Path]) -> float:
    """Return the seconds in which all files are decoded and kept, by processes that start for it."""
    with TemporaryDirectory() as home:
        os.environ["ZOO_HOME"] = home
        started = perf_counter()
        open_kept(files)
        return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--pictures", type=int, default=10_000, help="JPEGs of 256 x 256 that are made")
    parser.add_argument("--decode-only", action="store_true", help="leave out the training")
    options = parser.parse_args()
    logging.getLogger("zoo").setLevel(logging.WARNING)
    kept = []
    with TemporaryDirectory() as folder:
        files = make_pictures(Path(folder, "pictures"), options.pictures)
        contenders = {"zoo": partial(time_first_pass, files), "torchvision": partial(time_torchvision, files)}
        times = alternate(options.rounds, contenders)
        rates = {name: len(files) / median(seconds) for name, seconds in times.items()}
        print(f"{len(files)} pictures, {count_cores()} cores: " + ", ".join(f"{n} {r:.0f}/s" for n, r in rates.items()))
        kept.append(
            check_ratio("first pass / decode_jpeg in workers", find_ratio(times, "zoo", "torchvision"), DECODE_LIMIT)
        )
        if not options.decode_only:
            os.environ["ZOO_HOME"] = str(Path(folder, "home"))
            torch.set_num_threads(1)
            images, targets = open_kept(files)
            splits = {"kept": (images, targets), "memory": (images.clone(), targets)}
            times = alternate(options.rounds, {name: partial(time_training, split) for name, split in splits.items()})
            print(f"an epoch: kept {median(times['kept']):.2f} s, in memory {median(times['memory']):.2f} s")
            kept.append(check_ratio("an epoch, kept / in memory", find_ratio(times, "kept", "memory"), EPOCH_LIMIT))
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
