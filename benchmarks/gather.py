"""Raw images divided batch by batch, or ready-made inputs: what each costs, and which zoo/data/batches.py takes.

The seconds are those of making the inputs and gathering every batch once per epoch, with no model to train.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser

from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches, make_inputs
from zoo.registry.preprocess import Preprocess

LIMIT = 1.25
BATCH = 32
CPU = torch.device("cpu")
SETTINGS = BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=42)
DATA = {"fashionmnist": (60000, 1, 28, 28), "cifar": (50000, 3, 32, 32)}


def list_preprocesses(channels: int) -> dict[str, Preprocess]:
    return {
        "scale only": Preprocess(),
        "mean and std": Preprocess(mean=(0.5,) * channels, std=(0.25,) * channels),
        "resize to 30": Preprocess(resize=(30, 30)),
    }


def make_raw(images: torch.Tensor, targets: torch.Tensor, preprocess: Preprocess) -> TensorBatches:
    """Return batches that are preprocessed one by one, whatever the rule says."""
    batches = TensorBatches(images, targets, Preprocess(), SETTINGS)
    batches.preprocess = preprocess
    return batches


def make_ready(images: torch.Tensor, targets: torch.Tensor, preprocess: Preprocess) -> TensorBatches:
    """Return batches whose inputs are all made ahead, whatever the rule says."""
    inputs = make_inputs(images, preprocess, CPU)
    batches = TensorBatches(inputs, targets, Preprocess(), SETTINGS)
    batches.preprocess = None
    return batches


def chooses_ready(images: torch.Tensor, targets: torch.Tensor, preprocess: Preprocess) -> bool:
    """Tell what the rule does."""
    return TensorBatches(images, targets, preprocess, SETTINGS).preprocess is None


def time_epochs(make: partial[TensorBatches], epochs: int) -> float:
    """Return the seconds that making the batches and going through them takes."""
    started = perf_counter()
    batches = make()
    for epoch in range(epochs):
        for _ in batches.epoch(epoch):
            pass
    return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=None, help="images of each data set; default: as many as it has")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = []
    for name, (size, *shape) in DATA.items():
        samples = options.samples or size
        images = torch.randint(256, (samples, *shape), dtype=torch.uint8)
        targets = torch.randint(10, (samples,))
        for steps, preprocess in list_preprocesses(shape[0]).items():
            split = (images, targets, preprocess)
            contenders = {
                "raw": partial(time_epochs, partial(make_raw, *split), options.epochs),
                "ready": partial(time_epochs, partial(make_ready, *split), options.epochs),
                "making": partial(time_epochs, partial(make_ready, *split), 0),
            }
            times = alternate(options.rounds, contenders)
            raw, ready, making = (median(times[key]) for key in contenders)
            chosen, other = ("ready", "raw") if chooses_ready(*split) else ("raw", "ready")
            print(f"{name}, {steps}: raw {raw:.3f} s, ready {ready:.3f} s, {making:.3f} s of it to make the inputs")
            kept.append(check_ratio(f"  {chosen} (the rule) / {other}", find_ratio(times, chosen, other), LIMIT))
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
