"""A script: a training is killed at many points, resumed as often as it takes, and compared with one that was not.

It prints one JSON object: the digests of the weights and the histories of all of them, by the points of the kills. Each
training is a process of its own, forked from this one, which only evaluates: no step can follow in a fork of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, get_worker_info

import zoo
from zoo.registry.specs import DatasetSpec, ModelSpec
from zoo.training import pauses

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 8,
    "lr": 0.05,
    "momentum": 0.9,
    "schedule": "cosine",
    "warmup": 2,
    "ema": 0.8,
    "accumulate": 2,
    "clip": 1.0,
    "augment": "flip,crop:padding=1",
    "validation": 0.25,
    "patience": 3,
    "threads": 1,
}


class Net(nn.Sequential):
    """Draws from torch in training, and keeps running statistics."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        size = torch.Size(input_shape).numel()
        super().__init__(nn.Flatten(), nn.Linear(size, 12), nn.BatchNorm1d(12), nn.Dropout(0.3), nn.ReLU())
        self.append(nn.Linear(12, num_classes))


class Noisy(Dataset[Any]):
    """Draws from every generator that is seeded in a worker."""

    def __init__(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        self.images, self.targets = images, targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index] + 0.1 * torch.rand(1) + 0.1 * random.random(), self.targets[index]


class Stream(IterableDataset[Any]):
    """Gives noisy samples in an order that it draws anew in each epoch, from a generator that every worker seeds."""

    def __init__(self, samples: Noisy) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        info = get_worker_info()
        part = range(len(self))[slice(None) if info is None else slice(info.id, None, info.num_workers)]
        return (self.samples[part[place]] for place in torch.randperm(len(part)).tolist())


def make_splits(*, root: Path, data: str = "plain") -> zoo.DataSplits:
    generator, many = torch.Generator().manual_seed(1), 750 if data == "replayed" else 60
    parts = [(torch.rand(count, 1, 6, 6, generator=generator), torch.arange(count) % 3) for count in (many, 21, 20)]
    made: list[Any] = [part if data in ("plain", "replayed") else Noisy(*part) for part in parts]
    train, test, validation = map(Stream, made) if data == "stream" else (*made[:2], None)
    return zoo.DataSplits(train=train, test=test, validation=validation, class_names=("a", "b", "c"))


def train(runs: Path, *, data: str, workers: int, resume: bool, **changes: Any) -> None:
    options: dict[str, Any] = {"registry": zoo.Registry.discover(), "runs_dir": runs, "checkpoint_every": "3 steps"}
    options["registry"].add(
        ModelSpec(name="net", factory=Net), DatasetSpec(name="noise", factory=make_splits), plugin="own"
    )
    if resume and any(runs.glob("*/run.json")):
        try:
            zoo.resume(**options)
        except zoo.WeightsError as error:
            if "no usable checkpoint" not in str(error):
                raise
        else:
            return
    settings = {**SETTINGS, **changes}
    if data == "stream":
        settings["validation"] = None  # it has one of its own
    if data == "shards":
        params: dict[str, Any] = {"path": str(runs.parent / "shards"), "window": 2}
        zoo.run("net", "image-shards", dataset_params=params, workers=workers, **settings, **options)
        return
    zoo.run("net", "noise", dataset_params={"data": data}, workers=workers, **settings, **options)


def write_shards(folder: Path) -> None:
    """Write the data set to tar files of a few samples each, in a process of its own."""
    child = os.fork()
    if not child:
        registry = zoo.Registry.discover()
        registry.add(DatasetSpec(name="noise", factory=make_splits), plugin="own")
        zoo.data_shard("noise", folder, size="10kB", registry=registry)
        os._exit(0)
    os.waitpid(child, 0)


def count_events(point: int) -> list[int]:
    """Kill this process at an event: a step, a batch of an evaluation, or a call that brings a file to the disk."""
    seen = [0]

    def count() -> None:
        seen[0] += 1
        if seen[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)

    look, fsync, rename, replace = pauses.Pauses.look, os.fsync, os.rename, os.replace

    def counting(call: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            count()
            return call(*arguments, **options)

        return called

    pauses.Pauses.look = counting(look)  # type: ignore[method-assign]
    os.fsync, os.rename, os.replace = counting(fsync), counting(rename), counting(replace)
    return seen


def attempt(runs: Path, point: int, **options: Any) -> int | None:
    """Train in a process of its own that is killed at an event; return how many there were, None if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            seen = count_events(point)
            train(runs, **options)
            os.write(writer, str(seen[0]).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 whatever it was, the test is told
            traceback.print_exc()
            os._exit(3)
    os.close(writer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # Workers of one that was killed hold the other end for some seconds more.
    os.set_blocking(reader, False)
    told = os.read(reader, 100) if code == 0 else b""
    os.close(reader)
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"killed at {point}: ended with {code}")
    return int(told) if code == 0 else None


def describe(runs: Path) -> list[Any]:
    """Return what a training came to: digests of the weights of the best and of the last epoch, scores, history."""
    folder = max(path.parent for path in runs.glob("*/weights.safetensors"))
    record = json.loads((folder / "run.json").read_text())
    history = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in record["history"]]
    files = [(folder / name).read_bytes() for name in ("weights.safetensors", "last.safetensors")]
    digests = [hashlib.sha256(data).hexdigest() for data in files]
    return [*digests, record["status"], record["metrics"], record["best"], history]


def main(folder: Path, kills: int, data: str, workers: int, part: int, parts: int) -> None:
    options: dict[str, Any] = {"data": data, "workers": workers}
    if data == "shards":
        write_shards(folder / "shards")
    # What is imported and built here need not be in each of the trainings.
    train(folder / "warm", data=data, workers=0, resume=False, epochs=0)
    events = attempt(folder / "whole", 0, resume=False, **options)
    assert events is not None
    found: dict[str, Any] = {"whole": describe(folder / "whole")}
    chosen = random.Random(kills)
    all_events = range(1, events + 1)
    points = chosen.sample(all_events, kills) if kills < events else chosen.choices(all_events, k=kills)
    points = points[kills * part // parts : kills * (part + 1) // parts]
    done = 0
    while points:
        first, runs = points.pop(0), folder / f"killed-{done}"
        told = [first]
        killed = attempt(runs, first, resume=False, **options) is None
        while killed:
            # Later kills come where they may: a resumed training has fewer events, and may come to its end.
            point = points.pop(0) // 2 + 1 if points and len(told) < 3 else 0
            told.append(point)
            killed = attempt(runs, point, resume=True, **options) is None
        found[str(told)] = describe(runs)
        done += 1
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
