"""What the layout and the threads that zoo chooses are worth, in training, evaluation and prediction.

Epochs are those of zoo as it is and loops by hand over the same images, which are random. Then the rule: a step of
models of many families with the layout that it chooses, against the other one, in processor time on one thread, so that
a busy machine hardly matters. Beside busy processes set OMP_NUM_THREADS=1: both sides then have one thread, and what
counts is processor time.

zoo and the loops have a process each: that of zoo is prepared as `zoo run` does, the other is as Python starts it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from measure import Times, alternate, check_ratio, find_ratio, make_parser
from torch import Tensor, nn
from torchvision import models

import zoo
from zoo.cli.torch_import import prepare_for_torch
from zoo.data.batch import BatchSettings, lay_last
from zoo.data.batches import TensorBatches
from zoo.data.order import epoch_order
from zoo.models.device import choose_threads
from zoo.models.flop import count_work
from zoo.models.layout import AUTO, CHANNELS_LAST, CONTIGUOUS, choose_format, lay_model
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.inputs import MAX_TEST_BATCH
from zoo.training.losses import Losses
from zoo.training.trainer import Trainer, evaluate, train_one_epoch
from zoo_plugins.metrics.accuracy import Accuracy
from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.relu_mlp import ReluMLP
from zoo_plugins.models.small_resnet import SmallResNet
from zoo_plugins.models.tinyvgg import TinyVGG

LIMITS = {
    "tinyvgg, default": 0.58,
    "tinyvgg, bf16": 0.45 if torch.cpu._is_amx_tile_supported() else 0.75,  # AVX-512 alone is no quicker in bf16
    "tinyvgg, bf16, by hand": 1.05,
    "resnet18, default": 1.03,
    "tinyvgg, evaluation": 1.05,
    "tinyvgg, prediction": 1.05,
    "rule": 1.15,
}
BATCH, SEED, CLASSES = 32, 42, 10
SECONDS = 0.3
"""Of the steps of a family, with each layout in each round; the shortest counts."""
CPU = torch.device("cpu")
clock = process_time if os.environ.get("OMP_NUM_THREADS") == "1" else perf_counter
GREY, COLOUR = (1, 28, 28), (3, 64, 64)


def make_tinyvgg() -> nn.Module:
    return TinyVGG(input_shape=GREY, num_classes=CLASSES)


def make_resnet() -> nn.Module:
    return models.resnet18(num_classes=CLASSES)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "baseline": (lambda: Baseline(input_shape=GREY, num_classes=CLASSES), GREY),
    "relu-mlp": (lambda: ReluMLP(input_shape=GREY, num_classes=CLASSES), GREY),
    "tinyvgg": (make_tinyvgg, GREY),
    "small-resnet": (lambda: SmallResNet(input_shape=GREY, num_classes=CLASSES), GREY),
    "resnet18": (make_resnet, COLOUR),
    "resnet50": (lambda: models.resnet50(num_classes=CLASSES), COLOUR),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=CLASSES), COLOUR),
    "shufflenet_v2_x1_0": (lambda: models.shufflenet_v2_x1_0(num_classes=CLASSES), COLOUR),
    "resnext50_32x4d": (lambda: models.resnext50_32x4d(num_classes=CLASSES), COLOUR),
    "densenet121": (lambda: models.densenet121(num_classes=CLASSES), COLOUR),
    "vgg11": (lambda: models.vgg11(num_classes=CLASSES), COLOUR),
    "vit_b_32": (lambda: models.vit_b_32(num_classes=CLASSES, image_size=64), COLOUR),
}


def make_images(samples: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randint(256, (samples, *shape), generator=generator, dtype=torch.uint8)
    return images, torch.randint(CLASSES, (samples,), generator=generator)


def settle(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Do to a model what a run does, and set the threads; tell whether its channels are last."""
    work = count_work(model, shape, CPU)
    torch.set_num_threads(choose_threads(work, BATCH))
    layout = choose_format(AUTO, model, shape, work, CPU, trains=True)
    lay_model(model, layout)
    return layout == CHANNELS_LAST


class Contest:
    """Contenders that train or evaluate a new model of one kind."""

    def __init__(self, make: Callable[[], nn.Module], shape: tuple[int, ...], samples: int, threads: int) -> None:
        self.make, self.shape, self.samples, self.threads = make, shape, samples, threads
        self.images, self.targets = make_images(samples, shape)
        self.inputs = Preprocess()(self.images)

    def build(self) -> nn.Module:
        torch.manual_seed(SEED)
        return self.make()

    def zoo(self, precision: str) -> float:
        """Train for an epoch as `zoo run` does."""
        model = self.build()
        settings = BatchSettings(
            batch_size=BATCH, device=CPU, shuffle_seed=SEED, channels_last=settle(model, self.shape)
        )
        batches = TensorBatches(self.images, self.targets, Preprocess(), settings)
        trainer = Trainer(model, TrainConfig(batch_size=BATCH, precision=precision, epochs=1), CPU)
        step = trainer.prepare(len(batches))
        started = clock()
        train_one_epoch(trainer.model, step, batches, Losses(CPU), 0)
        return clock() - started

    def hand(self, layout: str, precision: str = "fp32") -> float:
        """Train for an epoch with a loop written by hand over inputs that are ready in memory."""
        torch.set_num_threads(self.threads)
        last = layout == CHANNELS_LAST
        inputs = self.inputs.contiguous(memory_format=torch.channels_last) if last else self.inputs
        model = self.build().to(memory_format=torch.channels_last if last else torch.preserve_format).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        started = clock()
        order = epoch_order(self.samples, SEED, 0)
        for start in range(0, self.samples, BATCH):
            chosen = order[start : start + BATCH]
            batch = inputs[chosen].contiguous(memory_format=torch.channels_last) if last else inputs[chosen]
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = model(batch)
            loss = nn.functional.cross_entropy(logits.float(), self.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        return clock() - started

    def evaluate(self) -> float:
        """Evaluate as a run does after each epoch, and `zoo evaluate`."""
        model = self.build()
        settings = BatchSettings(batch_size=MAX_TEST_BATCH, device=CPU, channels_last=settle(model, self.shape))
        batches = TensorBatches(self.images, self.targets, Preprocess(), settings)
        started = clock()
        evaluate(model, batches, {"accuracy": Accuracy(num_classes=CLASSES)})
        return clock() - started

    @torch.inference_mode()
    def evaluate_by_hand(self, size: int) -> float:
        """Evaluate with a loop written by hand, with the channels last."""
        torch.set_num_threads(self.threads)
        model = self.build().to(memory_format=torch.channels_last).eval()
        started = clock()
        hits, loss = 0, 0.0
        for images, targets in zip(self.images.split(size), self.targets.split(size), strict=True):
            inputs = (images.float() / 255).contiguous(memory_format=torch.channels_last)
            logits = model(inputs)
            loss += float(nn.functional.cross_entropy(logits, targets, reduction="sum"))
            hits += int((logits.argmax(dim=1) == targets).sum())
        return clock() - started

    def predict(self) -> float:
        """Predict as `zoo predict` does, the images at hand."""
        predictor = load_predictor()
        torch.set_num_threads(predictor.choose_threads())
        started = clock()
        predictor(self.images)
        return clock() - started

    @torch.inference_mode()
    def predict_by_hand(self, size: int) -> float:
        torch.set_num_threads(self.threads)
        model = self.build().to(memory_format=torch.channels_last).eval()
        started = clock()
        found = []
        for images in self.images.split(size):
            inputs = (images.float() / 255).contiguous(memory_format=torch.channels_last)
            found.append(model(inputs).softmax(dim=1))
        torch.cat(found).numpy()
        return clock() - started


@cache
def load_predictor() -> zoo.Predictor:
    predictor = zoo.load("tinyvgg@fashionmnist", offline=True)
    predictor(make_images(BATCH, GREY)[0])
    return predictor


find_contest = cache(Contest)


def contend(subject: tuple[Callable[[], nn.Module], tuple[int, ...], int, int], what: str, *given: str | int) -> float:
    return getattr(find_contest(*subject), what)(*given)


def show(times: Times, unit: str) -> None:
    for name, seconds in times.items():
        print(f"{name:<28} {median(seconds):8.3f} s {unit}")


def compare_epochs(samples: int, rounds: int) -> list[bool]:
    """Train, evaluate and predict; return what keeps its limit."""
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn, initializer=prepare_for_torch) as zoo_process,
        ProcessPoolExecutor(1, mp_context=spawn) as plain_process,
    ):
        plain_process.submit(int).result()  # starts it, with the environment as it is
        prepare_for_torch()  # for the environment of the other, which imports torch before its initializer runs
        zoo_process.submit(int).result()
        return _compare_epochs(samples, rounds, zoo_process, plain_process)


def _compare_epochs(samples: int, rounds: int, ours: Executor, plain: Executor) -> list[bool]:
    threads = torch.get_num_threads()
    tiny, resnet = (make_tinyvgg, GREY, samples, threads), (make_resnet, COLOUR, max(BATCH, samples // 40), threads)

    def ask(process: Executor, *wanted: Any) -> Callable[[], float]:
        return lambda: process.submit(contend, *wanted).result()

    contenders = {
        "zoo": ask(ours, tiny, "zoo", "fp32"),
        "zoo, bf16": ask(ours, tiny, "zoo", "bf16"),
        "by hand, contiguous": ask(plain, tiny, "hand", CONTIGUOUS),
        "by hand, channels last": ask(plain, tiny, "hand", CHANNELS_LAST),
        "by hand, channels last, bf16": ask(plain, tiny, "hand", CHANNELS_LAST, "bf16"),
    }
    times = alternate(rounds, contenders)
    show(times, f"an epoch of tinyvgg, {samples} images")
    kept = [
        check_ratio("tinyvgg, default", find_ratio(times, "zoo", "by hand, contiguous"), LIMITS["tinyvgg, default"]),
        check_ratio("tinyvgg, bf16", find_ratio(times, "zoo, bf16", "by hand, contiguous"), LIMITS["tinyvgg, bf16"]),
    ]
    ratio = find_ratio(times, "zoo, bf16", "by hand, channels last, bf16")
    kept.append(check_ratio("tinyvgg, bf16 / bf16 by hand", ratio, LIMITS["tinyvgg, bf16, by hand"]))
    contenders = {
        "zoo": ask(ours, resnet, "zoo", "fp32"),
        "by hand, channels last": ask(plain, resnet, "hand", CHANNELS_LAST),
    }
    times = alternate(rounds, contenders)
    show(times, f"an epoch of resnet18, {resnet[2]} images of 64 x 64")
    ratio = find_ratio(times, "zoo", "by hand, channels last")
    kept.append(check_ratio("resnet18, default", ratio, LIMITS["resnet18, default"]))
    for what, method in (("evaluation", "evaluate"), ("prediction", "predict")):
        contenders = {
            "zoo": ask(ours, tiny, method),
            "by hand, channels last": ask(plain, tiny, f"{method}_by_hand", 256),
        }
        times = alternate(2 * rounds, contenders)
        show(times, f"{what} by tinyvgg, {samples} images")
        ratio = find_ratio(times, "zoo", "by hand, channels last")
        kept.append(check_ratio(f"tinyvgg, {what}", ratio, LIMITS[f"tinyvgg, {what}"]))
    return kept


def time_family(make: Callable[[], nn.Module], shape: tuple[int, ...], rounds: int) -> tuple[str, float, float, float]:
    """Return the layout that is chosen, the seconds of a step with it, and the ratios to the other one: of training,
    and of evaluating.
    """
    torch.manual_seed(SEED)
    model = make()
    chosen = choose_format(AUTO, model, shape, count_work(model, shape, CPU), CPU, trains=True)
    images, targets = make_images(8 if shape == COLOUR else BATCH, shape)
    least = dict[tuple[str, bool], float]()
    for _ in range(rounds):
        for layout in (CONTIGUOUS, CHANNELS_LAST):
            tried = make()
            lay_model(tried, layout)
            inputs = Preprocess()(images)
            inputs = lay_last(inputs) if layout == CHANNELS_LAST else inputs
            for trains in (True, False):
                tried.train(trains)
                begun = process_time()
                while process_time() - begun < SECONDS:
                    started = process_time()
                    with torch.set_grad_enabled(trains):
                        loss = nn.functional.cross_entropy(tried(inputs), targets)
                    if trains:
                        loss.backward()
                    seconds = process_time() - started
                    least[layout, trains] = min(seconds, least.get((layout, trains), seconds))
    other = CHANNELS_LAST if chosen == CONTIGUOUS else CONTIGUOUS
    ratios = [least[chosen, trains] / least[other, trains] for trains in (True, False)]
    return chosen, least[chosen, True], *ratios


def compare_families(rounds: int, count: int) -> bool:
    """Print what the rule chooses for each family; tell whether no choice costs much in training."""
    torch.set_num_threads(1)
    print("\nmodel                chosen layout    a step   of that with the other layout: trained  evaluated")
    worst = 0.0
    for name, (make, shape) in list(FAMILIES.items())[:count]:
        chosen, seconds, trained, evaluated = time_family(make, shape, rounds)
        print(f"{name:<20} {chosen:<14} {seconds * 1e3:8.1f} ms {trained:39.2f} {evaluated:10.2f}")
        worst = max(worst, trained)
    return check_ratio("the rule, its worst choice", worst, LIMITS["rule"])


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--samples", type=int, default=10_000, help="images of tinyvgg; resnet18 has a fortieth")
    parser.add_argument("--families", type=int, default=len(FAMILIES), help="how many, the first ones")
    options = parser.parse_args()
    kept = [*compare_epochs(options.samples, options.rounds), compare_families(options.rounds, options.families)]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
