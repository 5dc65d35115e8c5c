"""Training on shards: how much of its time resnet18 at 64 pixels waits for data that two workers read from tar files.

JPEGs are written to shards as they are, more of them than are shuffled through at a time. The same epoch is timed on
the decoded pictures in memory: what the workers take of the cores shows in its time, not in the waiting.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy
import torch
from measure import alternate, check_ratio, make_parser
from PIL import Image

import zoo
from zoo.data.loader import Loader

LIMIT = 0.05
"""Share of an epoch that may be spent on waiting for the next batch, workers being started included."""
CLASSES, SIDE, BATCH, WORKERS, SHARDS = 10, 64, 32, 2, 24


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of noise on waves, as heavy to decode as photographs of their size; return the files."""
    random, files = numpy.random.default_rng(0), []
    folder.mkdir()
    for number in range(count):
        waves = numpy.sin(numpy.linspace(0, 1, SIDE) * random.uniform(5, 40, (6, 1)) + random.uniform(0, 6, (6, 1)))
        planes = [numpy.outer(waves[band], waves[band + 3]) * 100 + 128 for band in range(3)]
        pixels = numpy.stack(planes, axis=-1) + random.normal(0, 12, (SIDE, SIDE, 3))
        data = BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(data, "JPEG", quality=90)
        files.append(folder / f"{number:06}.jpg")
        files[-1].write_bytes(data.getvalue())
    return files


def write_shards(files: list[Path], folder: Path) -> zoo.DataSplits:
    """Write the pictures to about SHARDS tar files, and return what they are read as."""
    targets = [number % CLASSES for number in range(len(files))]
    made = zoo.DataSplits(
        train=zoo.ImageFiles(files, targets),
        test=zoo.ImageFiles(files[:CLASSES], targets[:CLASSES]),
        class_names=[f"class {number}" for number in range(CLASSES)],
    )
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="pictures", factory=lambda *, root: made), plugin="own")
    size = sum(file.stat().st_size + 2048 for file in files) // SHARDS
    zoo.data_shard("pictures", folder, size=max(10_000, size), registry=registry)
    return zoo.read_shards(folder)


def train(loader: Loader, waits: list[float]) -> float:
    """Train an epoch; return its seconds, and put the share that was spent on waiting on the list."""
    torch.manual_seed(0)
    model = zoo.create_model("torchvision/resnet18", input_shape=(3, SIDE, SIDE), num_classes=CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    waited, started = 0.0, perf_counter()
    batches, asked = iter(loader), started
    for inputs, targets in batches:
        waited += perf_counter() - asked
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        asked = perf_counter()
    finished = perf_counter()
    waits.append((waited + finished - asked) / (finished - started))
    return finished - started


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--pictures", type=int, default=1000, help=f"JPEGs of {SIDE} x {SIDE} that are made")
    options = parser.parse_args()
    logging.getLogger("zoo").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder:
        os.environ["ZOO_HOME"] = str(Path(folder, "home"))
        shards = write_shards(make_pictures(Path(folder, "pictures"), options.pictures), Path(folder, "shards")).train
        samples = [shards[index] for index in range(len(shards))]  # type: ignore[arg-type, index]
        memory = torch.stack([image for image, _ in samples]), torch.tensor([target for _, target in samples])
        make = partial(zoo.make_loader, batch_size=BATCH, shuffle=True)
        waits: dict[str, list[float]] = {"shards": [], "memory": []}
        contenders = {
            "shards": lambda: train(make(shards, workers=WORKERS), waits["shards"]),
            "memory": lambda: train(make(memory), waits["memory"]),
        }
        times = alternate(options.rounds, contenders)
    seconds = {name: median(found) for name, found in times.items()}
    rates = ", ".join(f"{name} {len(samples) / found:.0f}/s" for name, found in seconds.items())
    print(f"{len(samples)} pictures of {SIDE} x {SIDE}, {torch.get_num_threads()} threads: {rates}")
    print(f"an epoch, shards / in memory: {seconds['shards'] / seconds['memory']:.3f}")
    print(f"share of waiting, in memory: {median(waits['memory']):.3f}")
    kept = check_ratio("share of waiting, shards, two workers", median(waits["shards"]), LIMIT)
    return 0 if options.no_check or kept else 1


if __name__ == "__main__":
    sys.exit(main())
