"""What a shipped recipe costs: all of its epochs against 60 of tinyvgg with the channels last, measured in this run.

Both train and are evaluated through zoo.run, on the same drawn images of FashionMNIST's size, with one thread. Some of
the images suffice, since the seconds of an epoch grow with their number: the second of two epochs is taken of each.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measure import alternate, check_ratio, find_ratio, make_parser

import zoo

LIMIT = 1.0
BASE, BASE_EPOCHS = "tinyvgg", 60
TEST = 64


def time_epoch(model: str, params: dict[str, Any], train: dict[str, Any], samples: int) -> float:
    """Return the seconds of an epoch: of the training, and of the validation where there is one."""
    sizes = {"train_size": samples, "test_size": TEST}
    with TemporaryDirectory() as runs:
        settings = {**train, "epochs": 2, "threads": 1}
        result = zoo.run(model, "shapes", params=params, dataset_params=sizes, runs_dir=runs, **settings)
    return sum(result.history[-1]["seconds"].values())


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--recipe", default="fashionmnist-small-resnet", help="the recipe")
    parser.add_argument("--samples", type=int, default=6000, help="images for training and validation")
    options = parser.parse_args()
    logging.getLogger("zoo").setLevel(logging.ERROR)  # so little training may well predict too few classes
    recipe = zoo.Registry.discover().get("recipe", options.recipe).spec
    base = {"memory_format": "channels_last", "validation": recipe.train.get("validation", 0.0)}
    epochs = {BASE: BASE_EPOCHS, options.recipe: recipe.train["epochs"]}
    contenders = {
        BASE: partial(time_epoch, BASE, {}, base, options.samples),
        options.recipe: partial(time_epoch, recipe.model, dict(recipe.params), dict(recipe.train), options.samples),
    }
    times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<28} {median(seconds):7.3f} s an epoch of {options.samples} images, {epochs[name]} epochs")
        times[name] = [epochs[name] * each for each in seconds]
    kept = check_ratio(f"all epochs / {BASE_EPOCHS} of {BASE}", find_ratio(times, options.recipe, BASE), LIMIT)
    return 0 if options.no_check or kept else 1


if __name__ == "__main__":
    sys.exit(main())
