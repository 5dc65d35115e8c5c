"""What the settings of a training cost: an epoch with none of them and with all, each against the same loop by hand.

By hand means plain torch over batches that are gathered from memory, with `zoo.augment` for the augmentation. Both must
come to the same loss; the tests hold their weights against each other, bit for bit. On one thread, with random
images of the form of FashionMNIST.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.data.order import epoch_order
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.losses import Losses
from zoo.training.objective import WeightedCrossEntropy
from zoo.training.progress import no_progress
from zoo.training.trainer import Trainer, train_one_epoch
from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.tinyvgg import TinyVGG

LIMITS = {"off": 1.08, "on": 1.05}
"""Of zoo over the loop by hand, without the settings and with all of them."""
MODELS = {"baseline": Baseline, "tinyvgg": TinyVGG}
BATCH, SEED, CLASSES, CHUNK = 32, 42, 10, 256
CPU = torch.device("cpu")
OPERATIONS, RATE, DECAY, SMOOTHING, CLIP, EMA, WARMUP, ACCUMULATE = (
    "flip,crop:padding=2",
    1e-3,
    0.01,
    0.1,
    1.0,
    0.99,
    50,
    2,
)
SETTINGS = {
    "off": TrainConfig(batch_size=BATCH, epochs=1),
    "on": TrainConfig(
        batch_size=BATCH,
        epochs=1,
        optimizer="adamw",
        lr=RATE,
        weight_decay=DECAY,
        schedule="cosine",
        warmup=WARMUP,
        accumulate=ACCUMULATE,
        clip=CLIP,
        ema=EMA,
        label_smoothing=SMOOTHING,
        augment=OPERATIONS,
    ),
}


@dataclass
class Contest:
    """The contenders, each of which trains a new model for one epoch; `losses` are what they came to."""

    model: str
    samples: int
    losses: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self.images = torch.randint(256, (self.samples, 1, 28, 28), generator=generator, dtype=torch.uint8)
        self.targets = torch.randint(CLASSES, (self.samples,), generator=generator)
        self.weights = torch.linspace(0.5, 1.5, CLASSES)

    def build(self) -> nn.Module:
        torch.manual_seed(SEED)
        return MODELS[self.model](input_shape=(1, 28, 28), num_classes=CLASSES)

    def zoo(self, state: str) -> float:
        """Train as `zoo run` does."""
        config = SETTINGS[state]
        augment = zoo.augment.parse(config.augment) if state == "on" else None
        settings = BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=SEED, augment=augment)
        batches = TensorBatches(self.images, self.targets, Preprocess(), settings)
        function = WeightedCrossEntropy(self.weights) if state == "on" else nn.functional.cross_entropy
        trainer = Trainer(self.build(), config, CPU, loss_function=function)
        step = trainer.prepare(len(batches))
        started = perf_counter()
        loss = train_one_epoch(trainer.model, step, batches, Losses(CPU), 0, no_progress)
        seconds = perf_counter() - started
        self.losses[f"zoo, {state}"] = loss
        return seconds

    def off(self) -> float:
        """Train by hand, as the course does, on batches from memory."""
        model = self.build().train()
        optimizer, loss_fn, total = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), 0.0
        started = perf_counter()
        order = epoch_order(self.samples, SEED, 0)
        for start in range(0, self.samples, BATCH):
            chosen = order[start : start + BATCH]
            loss = loss_fn(model(self.images[chosen] / 255), self.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        self.losses["by hand, off"] = total / self.samples
        return perf_counter() - started

    def on(self) -> float:
        """Train by hand with all that the settings ask for."""
        model = self.build().train()
        loss_fn, total = nn.CrossEntropyLoss(weight=self.weights, label_smoothing=SMOOTHING), 0.0
        decayed = [each for each in model.parameters() if each.ndim > 1]
        spared = [each for each in model.parameters() if each.ndim <= 1]
        groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY, foreach=False)
        steps = math.ceil(math.ceil(self.samples / BATCH) / ACCUMULATE)
        rise = LinearLR(optimizer, start_factor=1 / (WARMUP + 1), total_iters=WARMUP)
        schedule = SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, steps - WARMUP)], [WARMUP])
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA))
        augment = zoo.augment.parse(OPERATIONS)
        started = perf_counter()
        order = epoch_order(self.samples, SEED, 0)
        waiting: list[tuple[Tensor, Tensor]] = []
        for start in range(0, self.samples, CHUNK):
            chosen = order[start : start + CHUNK]
            images = augment(self.images[chosen], chosen, 0, SEED)
            batches = list(zip(images.split(BATCH), self.targets[chosen].split(BATCH), strict=True))
            for number, (raw, targets) in enumerate(batches, start=1):
                waiting.append((raw / 255, targets))
                last = start + CHUNK >= self.samples and number == len(batches)
                if len(waiting) < ACCUMULATE and not last:
                    continue
                optimizer.zero_grad()
                count = sum(self.weights[each].sum() for _, each in waiting)
                for inputs, each in waiting:
                    loss = loss_fn(model(inputs), each)
                    (loss * self.weights[each].sum()).backward()
                    total += loss.item() * len(each)
                for parameter in model.parameters():
                    parameter.grad /= count
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                schedule.step()
                average.update_parameters(model)
                waiting = []
        self.losses["by hand, on"] = total / self.samples
        return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--samples", type=int, default=60000, help="images; FashionMNIST has 60000 for training")
    parser.add_argument("--model", choices=MODELS, default="baseline", help="the smaller, the more overhead counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    contest = Contest(options.model, options.samples)
    contenders = {
        **{f"zoo, {state}": partial(contest.zoo, state) for state in LIMITS},
        **{"by hand, off": contest.off, "by hand, on": contest.on},
    }
    for contender in contenders.values():
        contender()  # the first pass through the memory is slower
    times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<14} {median(seconds):7.3f} s an epoch   loss {contest.losses[name]:.6f}")
    kept = []
    for state, limit in LIMITS.items():
        kept.append(
            check_ratio(f"{state}: zoo / by hand", find_ratio(times, f"zoo, {state}", f"by hand, {state}"), limit)
        )
        apart = abs(contest.losses[f"zoo, {state}"] - contest.losses[f"by hand, {state}"])
        kept.append(check_ratio(f"{state}: losses differ by", apart, 1e-6))
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
