"""What augmentation costs: flip and crop of 60,000 images that are in memory, against an epoch of tinyvgg in this run.

All go through the same batches in the same order, on one thread. What augmentation costs is the time to make augmented
batches without the time to make plain ones.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.losses import Losses
from zoo.training.progress import no_progress
from zoo.training.step import TrainStep
from zoo.training.trainer import Trainer, train_one_epoch
from zoo_plugins.models.tinyvgg import TinyVGG

LIMIT = 0.15
BATCH, SEED, LR, CLASSES = 32, 42, 0.1, 10
OPERATIONS = "flip,crop:padding=2"


def make_images(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images as FashionMNIST has them: the time does not depend on what is in them."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randint(256, (samples, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return images, torch.randint(CLASSES, (samples,), generator=generator)


def go_through(batches: TensorBatches) -> float:
    """Return the seconds of an epoch that only makes its batches."""
    started = perf_counter()
    for _ in batches.epoch(0):
        pass
    return perf_counter() - started


def train(batches: TensorBatches, device: torch.device) -> float:
    """Return the seconds of an epoch of training a new model."""
    torch.manual_seed(SEED)
    model = TinyVGG(input_shape=(1, 28, 28), num_classes=CLASSES).to(device)
    trainer = Trainer(model, TrainConfig(batch_size=BATCH, lr=LR), device)
    step = TrainStep(model, trainer.loss_function, trainer.optimizer)
    started = perf_counter()
    train_one_epoch(model, step, batches, Losses(device), 0, no_progress)
    return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--samples", type=int, default=60000, help="images; FashionMNIST has 60000 for training")
    parser.add_argument("--device", default="cpu", help="where images and model are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    plain = BatchSettings(batch_size=BATCH, device=device, shuffle_seed=SEED)
    split = (*make_images(options.samples), Preprocess())
    batches = {
        "plain": TensorBatches(*split, plain),
        "augmented": TensorBatches(*split, replace(plain, augment=zoo.augment.parse(OPERATIONS))),
    }
    for each in batches.values():
        go_through(each)  # the first pass through the memory is slower
    contenders = {f"{name} batches": partial(go_through, each) for name, each in batches.items()}
    contenders["training"] = partial(train, batches["plain"], device)
    times = alternate(options.rounds, contenders)
    pairs = zip(times["augmented batches"], times["plain batches"], strict=True)
    times[OPERATIONS] = [with_it - without for with_it, without in pairs]
    for name, seconds in times.items():
        print(f"{name:<20} {median(seconds):7.3f} s an epoch")
    kept = check_ratio(f"{OPERATIONS} / an epoch of tinyvgg", find_ratio(times, OPERATIONS, "training"), LIMIT)
    return 0 if options.no_check or kept else 1


if __name__ == "__main__":
    sys.exit(main())
