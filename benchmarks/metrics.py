"""What metrics cost: the smallest model evaluated with all of zoo's own against accuracy alone, and after an epoch."""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser

from zoo import Preprocess, Registry
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.registry.factories import build_metric
from zoo.registry.metric import Metric
from zoo.registry.settings import TrainConfig
from zoo.training.losses import Losses
from zoo.training.metrics import share_counts
from zoo.training.progress import no_progress
from zoo.training.step import TrainStep
from zoo.training.trainer import Trainer, evaluate, train_one_epoch
from zoo_plugins.models.baseline import Baseline

EVALUATION_LIMIT, EPOCH_LIMIT, APART_LIMIT = 2.5, 1.1, 0.6
CPU = torch.device("cpu")
CLASSES, BATCH, SEED = 10, 32, 42


class Contest:
    """The contenders, each of which evaluates one model on the same samples; `train` samples make the epoch before."""

    def __init__(self, train: int, test: int) -> None:
        torch.manual_seed(SEED)
        self.train, self.test = self.draw(train), self.draw(test)
        self.entries = [entry for entry in Registry.discover().list_entries("metric") if entry.is_first_party]
        self.model = Baseline(input_shape=(1, 28, 28), num_classes=CLASSES)

    def draw(self, samples: int):
        split = (torch.randint(256, (samples, 1, 28, 28), dtype=torch.uint8), torch.randint(CLASSES, (samples,)))
        settings = BatchSettings(batch_size=BATCH, device=CPU)
        return make_batches(split, Preprocess(), settings, name="", num_classes=CLASSES)

    def build(self) -> dict[str, Metric]:
        return {entry.name: build_metric(entry, num_classes=CLASSES, params={}) for entry in self.entries}

    def evaluate(self, metrics: dict[str, Metric]) -> float:
        started = perf_counter()
        evaluate(self.model, self.test, metrics)
        return perf_counter() - started

    def accuracy(self) -> float:
        return self.evaluate({"accuracy": self.build()["accuracy"]})

    def all(self) -> float:
        metrics = self.build()
        share_counts(metrics)
        return self.evaluate(metrics)

    def apart(self) -> float:
        """Evaluate with metrics that count for themselves."""
        return self.evaluate(self.build())

    def epoch(self) -> float:
        """Train for an epoch."""
        trainer = Trainer(self.model, TrainConfig(batch_size=BATCH), CPU)
        started = perf_counter()
        step = TrainStep(trainer.model, trainer.loss_function, trainer.optimizer)
        train_one_epoch(trainer.model, step, self.train, Losses(CPU), 0, no_progress)
        return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=9)
    parser.add_argument("--train", type=int, default=60000, help="samples of an epoch")
    parser.add_argument("--test", type=int, default=10000, help="samples of an evaluation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    contest = Contest(options.train, options.test)
    contest.all(), contest.apart(), contest.epoch()  # the first pass through the memory is slower
    contenders = {"accuracy": contest.accuracy, "all": contest.all, "all apart": contest.apart, "epoch": contest.epoch}
    times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<9} {median(seconds):7.4f} s")
    whole = {
        name: [epoch + seconds for epoch, seconds in zip(times["epoch"], times[name], strict=True)]
        for name in ("accuracy", "all")
    }
    print(f"{len(contest.entries)} metrics")
    kept = [
        check_ratio("an evaluation, all / accuracy", find_ratio(times, "all", "accuracy"), EVALUATION_LIMIT),
        check_ratio("an epoch and it, all / accuracy", find_ratio(whole, "all", "accuracy"), EPOCH_LIMIT),
        check_ratio("an evaluation, all / all apart", find_ratio(times, "all", "all apart"), APART_LIMIT),
    ]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
