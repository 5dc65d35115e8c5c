"""A program of one rank: trainings one after the other in one group of processes, which cost a start together.

`python -m torch.distributed.run ... rank_cases.py CASES OUTPUT`, or alone without torchrun. CASES is a JSON object of
the arguments of `zoo.run` by name, and `OUTPUT/NAME-RANK.json` is what became of each.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.data.ranks import Ranks, find_ranks
from zoo.registry.places import open_places
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.registry.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec
from zoo.training import group as group_module
from zoo.training import run
from zoo.training.group import Group
from zoo.training.interval import Pace
from zoo.training.plan import Wanted
from zoo.training.predictions import OutcomeCollector, read_outcomes
from zoo.training.request import make_request
from zoo.training.trainer import Trainer, evaluate
from zoo_plugins.metrics.accuracy import Accuracy

CPU = torch.device("cpu")
RANK = int(os.environ.get("RANK", "0"))


class Conv(nn.Sequential):
    """A small convolutional model; of `kind` also with layers that several ranks do otherwise than one process."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, kind: str = "plain") -> None:
        between = {"plain": nn.Identity(), "norm": nn.BatchNorm2d(6), "dropout": nn.Dropout(0.3)}[kind]
        layers = nn.Conv2d(input_shape[0], 6, 3, padding=1), between, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        super().__init__(*layers, nn.Linear(6 * 3 * 3, num_classes))
        self[4].unused = nn.Linear(2, 2)


class Rows(Dataset[Any]):
    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images, targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


class Stream(IterableDataset[Any]):
    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.rows = Rows(images, targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self.rows[index] for index in range(len(self.rows)))


def make_splits(*, root: Path, train: int = 61, test: int = 23, read: str = "", twins: int = 0) -> zoo.DataSplits:
    """Return splits of tensors, or with `read` of single samples: as rows, or as a stream.

    The last `twins` images of the test split are the first ones of the training split.
    """
    form = {"rows": Rows, "stream": Stream}.get(read)
    generator = torch.Generator().manual_seed(1)
    parts, first = list[Any](), None
    for count in (train, test):
        targets = torch.arange(count) % 3
        images = torch.rand(count, 1, 6, 6, generator=generator) + 0.3 * targets.view(-1, 1, 1, 1)
        if first is None:
            first = images
        elif twins:
            images[-twins:] = first[:twins]
        parts.append(form(images, targets) if form else (images, targets))
    return zoo.DataSplits(train=parts[0], test=parts[1], class_names=("a", "b", "c"))


class Order:
    """A metric that depends on the order of the samples, and cannot be merged."""

    def __init__(self, *, num_classes: int) -> None:
        self.reset()

    def reset(self) -> None:
        self.total, self.seen = 0.0, 0

    def update(self, logits: Tensor, targets: Tensor) -> None:
        hits = (logits.argmax(dim=1) == targets).tolist()
        self.total += sum(hit * (self.seen + place) for place, hit in enumerate(hits))
        self.seen += len(hits)

    def compute(self) -> float:
        return self.total


def make_pictures(*, root: Path, train: int = 1536, test: int = 500) -> zoo.DataSplits:
    """Return the first pictures of FashionMNIST."""
    whole = zoo.load_dataset("fashionmnist", data_dir=os.environ["ZOO_TEST_DATA"], offline=True)
    parts = [tuple(tensor[:count] for tensor in part) for part, count in ((whole.train, train), (whole.test, test))]
    return zoo.DataSplits(train=parts[0], test=parts[1], class_names=whole.class_names)


def brier(*, num_classes: int) -> Any:
    def measure(logits: Tensor, targets: Tensor) -> Tensor:
        return ((logits.softmax(1) - nn.functional.one_hot(targets, num_classes)) ** 2).sum(1).mean()

    return measure


def make_registry() -> zoo.Registry:
    registry = zoo.Registry.discover()
    registry.add(
        ModelSpec(name="conv", factory=Conv, params={"kind": "plain"}),
        DatasetSpec(name="rows", factory=make_splits),
        DatasetSpec(name="pictures", factory=make_pictures),
        MetricSpec(name="order", factory=Order, higher_is_better=True),
        LossSpec(name="brier", factory=brier),
        plugin="own",
    )
    return registry


class Heard(logging.Handler):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def carry_out(arguments: dict[str, Any], runs: Path, registry: zoo.Registry) -> dict[str, Any]:
    usual: dict[str, Any] = {"model": "conv", "dataset": "rows", "epochs": 2, "batch_size": 8, "lr": 0.05}
    usual |= {"threads": 1, "runs_dir": runs}
    told: list[Any] = []
    heard = Heard()
    logging.getLogger("zoo").addHandler(heard)
    try:
        result = zoo.run(registry=registry, on_epoch=told.append, **{**usual, **arguments})
    except zoo.ZooError as error:
        return {"error": str(error), "code": error.exit_code}
    finally:
        logging.getLogger("zoo").removeHandler(heard)
    tensors = load_file(result.weights)
    state = {name: tensors[name].double().flatten().tolist() for name in sorted(tensors)}
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    outcomes = read_outcomes(result.run / "predictions.safetensors")
    evaluated = []
    if "params" in arguments:  # by each rank for itself, and by all together
        for count in (None, find_ranks().count):
            found = zoo.evaluate(result.weights, registry=registry, processes=count)
            evaluated.append([found.metrics, found.outcomes.predictions.tolist()])
    record = json.loads((result.run / "run.json").read_text())
    history = [{name: scores for name, scores in epoch.items() if name != "seconds"} for epoch in result.history]
    return {
        "run": str(result.run),
        "told": len(told),
        "warnings": heard.lines,
        "evaluated": evaluated,
        "metrics": result.metrics,
        "history": history,
        "state": state,
        "digest": digest,
        "processes": record["train_config"]["processes"],
        "confusion": record["confusion"],
        "predictions": outcomes.predictions.tolist(),
        "probabilities": outcomes.target_probabilities.tolist(),
    }


class Split(Group):
    """A group as it is on devices: their numbers travel by another way than those of the process."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(ranks, CPU)
        self.data = dist.new_group(backend="gloo")


def train_as_on_devices(group: Group | None) -> list[Any]:
    """Train as `zoo.run` does on accelerators alone, in fp16 too; return histories and scales of the loss.

    Of three ranks one has no part of two samples, not even in the first step.
    """
    ranks, found, group = find_ranks(), list[Any](), group and Split(group.ranks)
    cases: Any = ((61, {}), (61, {"accumulate": 3}), (2, {}), (61, {"precision": "fp32", "accumulate": 3, "ema": 0.9}))
    for samples, settings in cases:
        splits = make_splits(root=Path(), train=samples)
        torch.manual_seed(0)
        model = Conv(input_shape=(1, 6, 6), num_classes=3)
        model.register_buffer("number", torch.tensor(ranks.index, dtype=torch.int16))
        config = TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 0.05, "precision": "fp16", **settings})
        batches = [
            TensorBatches(*part, Preprocess(), BatchSettings(batch_size=8, device=CPU, ranks=ranks), 3)
            for part in (splits.train, splits.test)
        ]
        trainer = Trainer(model, config, CPU, group=group)
        losses = [[epoch["train"]["loss"], epoch["test"]["loss"]] for epoch in trainer.fit(*batches)]
        scale = trainer.state()["parts"].get("scaler", {"scale": 65536})["scale"]
        found.append([losses, scale, int(model.number)])
    if group is not None:
        group.close()
    return found


def train_untested(group: Group | None) -> list[Any]:
    """Train as a trial of a sweep does, which is scored on the validation split alone."""
    places = open_places(make_registry(), runs_dir=Path(sys.argv[2]) / "untested").settle()
    settings = {"epochs": 1, "batch_size": 8, "lr": 0.05, "threads": 1, "validation": 0.3}
    request = make_request(Wanted(model="conv", dataset="rows", settings=settings), places)
    result = run.carry_out(replace(request, tested=False), pace=Pace())
    return [result.metrics, result.validation["loss"]]


def evaluate_anything(group: Group | None) -> list[Any]:
    """Evaluate what hypothesis would think of: any number of samples and classes, in batches of any size."""
    ranks, found = find_ranks(), list[Any]()
    random.seed(7)
    for _ in range(60):
        samples, classes, size = random.randint(1, 40), random.randint(2, 6), random.randint(1, 12)
        generator = torch.Generator().manual_seed(random.randrange(2**31))
        logits = torch.randint(-2, 3, (samples, classes), generator=generator)  # ties are many
        logits = logits.to(random.choice([torch.float32, torch.float64]))
        targets = torch.randint(classes, (samples,), generator=generator)
        settings = BatchSettings(batch_size=size, device=CPU, ranks=ranks)
        batches = TensorBatches(logits, targets, Preprocess(), settings, classes)
        metrics: dict[str, Any] = {"order": Order(num_classes=classes), "accuracy": Accuracy(num_classes=classes)}
        outcomes = OutcomeCollector()
        scores = evaluate(Given(), batches, metrics, outcomes=outcomes, group=group)
        found.append([scores, torch.cat(outcomes.indices).tolist(), torch.cat(outcomes.probabilities).tolist()])
    return found


def meet_late(group: Group | None) -> int:
    """Let the first rank wait for others that come at any time: at the end of a look, and after the time of gloo."""
    if group is None:
        return 0
    looks, group_module.LOOK = group_module.LOOK, timedelta(milliseconds=1)
    random.seed(RANK)
    for _ in range(300):
        be_late(random.uniform(0, 3e-3))
        group.meet()
    group_module.LOOK = looks
    stopped = Group(group.ranks, CPU, 0.2)
    stopped.patience = 60  # as if the program had been stopped most of the time: the ranks do not count that
    be_late(0.6)
    stopped.meet()
    stopped.close()
    return 301


def be_late(seconds: float) -> None:
    """Keep all ranks but the first busy for so long."""
    end = time.perf_counter() + seconds
    while RANK and time.perf_counter() < end:
        pass


class Given(nn.Module):
    """Gives the inputs as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def main(cases: str, output: str) -> None:
    registry = make_registry()
    group = Group(find_ranks(), CPU) if find_ranks().are_several else None
    for answer in (evaluate_anything, train_as_on_devices, train_untested, meet_late):
        (Path(output) / f"{answer.__name__}-{RANK}.json").write_text(json.dumps(answer(group)))
    for name, arguments in json.loads(Path(cases).read_text()).items():
        found = carry_out(arguments, Path(output) / "runs" / name, registry)
        (Path(output) / f"{name}-{RANK}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
