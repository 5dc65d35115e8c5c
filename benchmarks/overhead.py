"""What an epoch of zoo's trainer takes, captured and not, against the same loop by hand, and against the course's.

An epoch is the first of three: its first step is recorded, which the seconds include. All have the same losses, those
captured and not to the bit. Then the most memory that a process has while it trains a convolutional network, captured
and not.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from course import train_epoch
from measure import alternate, check_ratio, find_ratio, make_parser, unpacked
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import FashionMNIST
from torchvision.models import resnet18
from torchvision.transforms import ToTensor

from zoo.checks.combination.bench import read_peak
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.data.order import epoch_order
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.compiled import Compiled, use_compiler
from zoo.training.losses import Losses
from zoo.training.progress import no_progress
from zoo.training.trainer import Trainer, train_one_epoch
from zoo_plugins.datasets.fashionmnist import fashionmnist
from zoo_plugins.models.baseline import Baseline

CAPTURED_LIMIT, EAGER_LIMIT, COMPILED_LIMIT = 0.62, 0.85, 0.4
COURSE_LIMIT, MEMORY_LIMIT = 1 / 6, 1.05
CPU = torch.device("cpu")
MANY = 1000
"""Steps that a training is said to have, so that recording pays."""
BATCH, SEED, LR = 32, 42, 0.1


def build() -> nn.Module:
    torch.manual_seed(SEED)
    return Baseline(input_shape=(1, 28, 28), num_classes=10)


class Contest:
    """The contenders, each of which trains a new model for one epoch; `losses` are what they came to."""

    def __init__(self, root: Path, samples: int) -> None:
        self.root, self.samples = root, samples
        images, targets = fashionmnist(root=root).train
        self.images, self.targets = images[:samples], targets[:samples]
        self.inputs = Preprocess()(self.images)
        self.losses: dict[str, float] = {}

    def captured(self) -> float:
        """Train as a run does."""
        return self.train("captured", capture=True)

    def eager(self) -> float:
        """Train as a run without capture does."""
        return self.train("eager", capture=False)

    def compiled(self) -> float:
        """Train as a run with a compiled step does, whose code was made before."""
        return self.train("compiled", compile=True)

    def train(self, name: str, **settings: Any) -> float:
        """Train as `Trainer.fit` does."""
        trainer = Trainer(build(), TrainConfig(batch_size=BATCH, lr=LR, **settings), CPU)
        split = (self.images, self.targets)
        batches = make_batches(
            split,
            Preprocess(),
            BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=SEED),
            name="",
            num_classes=10,
        )
        step, later = trainer.prepare(len(batches)), 2 * len(batches)
        if isinstance(step.capture, Compiled):  # the compiler is no part of an epoch
            step.start(0, len(batches), later)
            inputs, targets = batches.first()
            step.capture(inputs, targets)
            step.forget()
        started = perf_counter()
        self.losses[name] = train_one_epoch(trainer.model, step, batches, Losses(CPU), 0, no_progress, later=later)
        return perf_counter() - started

    def hand(self) -> float:
        """Train with a loop written by hand over float inputs that are ready in memory."""
        model, loss_fn = build().train(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        total = 0.0
        started = perf_counter()
        order = epoch_order(self.samples, SEED, 0)
        for start in range(0, self.samples, BATCH):
            chosen = order[start : start + BATCH]
            loss = loss_fn(model(self.inputs[chosen]), self.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        self.losses["by hand"] = total / self.samples
        return perf_counter() - started

    def course(self) -> float:
        """Train as the course does: images from disk one by one through a DataLoader."""
        data = Subset(FashionMNIST(str(self.root), train=True, transform=ToTensor()), range(self.samples))
        loader = DataLoader(data if self.samples < 60000 else data.dataset, batch_size=BATCH, shuffle=True)
        model = build()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        torch.manual_seed(SEED)
        started = perf_counter()
        self.losses["course"] = train_epoch(model, loader, nn.CrossEntropyLoss(), optimizer)
        return perf_counter() - started


def measure_peak(capture: bool, images: int) -> float:
    """Return the most bytes that this process has while it trains resnet18 for some steps."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    trainer = Trainer(resnet18(num_classes=10), TrainConfig(batch_size=images, capture=capture), CPU)
    step, inputs = trainer.prepare(MANY), torch.rand(images, 3, 64, 64)
    trainer.model.train()
    step.start(0, MANY, MANY)
    for _ in range(4):
        step(inputs, torch.arange(images) % 10)
    return float(read_peak(CPU) or 0)


def compare_peaks(images: int, rounds: int) -> float:
    """Return the peak of a process with a captured step, compared with that of one with an ordinary step."""

    def measure(capture: bool) -> float:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(measure_peak, capture, images).result()

    peaks = alternate(rounds, {"captured": lambda: measure(True), "eager": lambda: measure(False)})
    return find_ratio(peaks, "captured", "eager")


def main() -> int:
    parser = make_parser(__doc__, rounds=5, data=True)
    parser.add_argument("--images", type=int, default=64, help="a batch of those whose memory is measured")
    parser.add_argument("--course-rounds", type=int, default=1, help="rounds that the slow course takes part in")
    parser.add_argument("--samples", type=int, default=60000, help="training images; the course has 60000")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with unpacked(options.data_dir) as root:
        contest = Contest(root, options.samples)
        contest.captured(), contest.hand()  # the first pass through the memory is slower
        contenders = {"captured": contest.captured, "eager": contest.eager, "by hand": contest.hand}
        with TemporaryDirectory() as folder, use_compiler(Path(folder)):
            times = alternate(options.rounds, {**contenders, "compiled": contest.compiled})
        against = alternate(options.course_rounds, {"captured": contest.captured, "course": contest.course})
    for name, seconds in {**times, "course": against["course"]}.items():
        print(f"{name:<8} {median(seconds):7.3f} s an epoch   loss of the first {contest.losses[name]:.4f}")
    kept = [
        check_ratio("captured / by hand", find_ratio(times, "captured", "by hand"), CAPTURED_LIMIT),
        check_ratio("eager / by hand", find_ratio(times, "eager", "by hand"), EAGER_LIMIT),
        check_ratio("compiled / by hand", find_ratio(times, "compiled", "by hand"), COMPILED_LIMIT),
        check_ratio("captured / course", find_ratio(against, "captured", "course"), COURSE_LIMIT),
        check_ratio("memory, captured / eager", compare_peaks(options.images, options.rounds), MEMORY_LIMIT),
        check_ratio("losses differ, captured and eager", abs(contest.losses["captured"] - contest.losses["eager"]), 0),
        check_ratio("losses differ by", max(contest.losses.values()) - min(contest.losses.values()), 1e-5),
    ]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
