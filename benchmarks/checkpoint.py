"""Checkpoints: how long one of a 100 MB model takes beside a plain write, and how long a training waits for it.

A training waits twice: for what is copied at once, and before its next update for the rest, which a thread copies while
the batch between is replayed. Where batches are not replayed all of it is copied at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import safetensors.torch
import torch
from measure import alternate, check_ratio, make_parser
from torch import nn

from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.records.runs import RunRecord
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.capture import REPAID
from zoo.training.interval import Pace
from zoo.training.pauses import SHARE, Pauses
from zoo.training.trainer import Trainer

WRITE_LIMIT, WAIT_LIMIT, USUAL_LIMIT = 1.3, 0.1, 0.01
STEPS = REPAID
"""Of the training: as many as it takes for its batches to be replayed."""


def build(megabytes: int) -> nn.Sequential:
    layers = [nn.Linear(1024, 1024) for _ in range(round(megabytes * 1e6 / 4 / 1024**2))]
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1024), *layers, nn.Linear(1024, 2))


def plain_write(model: nn.Module, path: Path) -> float:
    started = perf_counter()
    safetensors.torch.save_file(model.state_dict(), path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return perf_counter() - started


class Waiting:
    """Saves checkpoints in the middle of a training, and measures how long that waits for each."""

    def __init__(self, trainer: Trainer, pauses: Pauses, rounds: int) -> None:
        self.trainer, self.pauses, self.distance = trainer, pauses, STEPS // (rounds + 1)
        self.step, self.waited = 0, list[float]()
        trainer.after = self.look

    def look(self) -> None:
        step, self.step = self.trainer.step, self.step + 1
        if step is None or self.step % self.distance:
            return
        self.pauses.settle()
        started = perf_counter()
        self.pauses.save()
        self.waited.append(perf_counter() - started)
        settle = step.settle

        def wait() -> None:
            started = perf_counter()
            settle()
            self.waited[-1] += perf_counter() - started
            step.settle = settle  # type: ignore[method-assign]

        step.settle = wait  # type: ignore[method-assign]


def main() -> int:
    parser = make_parser(__doc__, rounds=20)
    parser.add_argument("--megabytes", type=int, default=100, help="of the model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, targets = torch.rand(8 * STEPS, 1, 2, 2), torch.arange(8 * STEPS) % 2
    batches = TensorBatches(images, targets, Preprocess(), BatchSettings(batch_size=8, device=torch.device("cpu")))
    model = build(options.megabytes)
    trainer = Trainer(model, TrainConfig(epochs=1, lr=1e-4), torch.device("cpu"))
    with TemporaryDirectory() as temporary:
        recording: Any = SimpleNamespace(
            folder=Path(temporary), record=RunRecord(), plan=SimpleNamespace(course_style=False)
        )
        pauses = Pauses(trainer, recording, Pace())
        replayed = Waiting(trainer, pauses, options.rounds)
        trainer.fit(batches, batches)
        pauses.settle()
        trainer.after, waited = None, list[float]()

        def save() -> float:
            started = perf_counter()
            pauses.save()
            waited.append(perf_counter() - started)
            pauses.settle()
            return perf_counter() - started

        times = alternate(
            options.rounds + 1,
            {"plain": lambda: plain_write(model, Path(temporary, "plain.safetensors")), "checkpoint": save},
        )
        times = (
            {name: found[1:] for name, found in times.items()}
            | {
                "waiting": replayed.waited[1:],
                "waiting for the first": replayed.waited[:1],  # the memory of its copy is new
                "waiting where nothing is replayed": waited[1:],
            }
        )
        spacing = 1 / SHARE
    # The least of each: whoever else uses the disk and the cores makes single rounds several times as long.
    least = {name: min(seconds) for name, seconds in times.items()}
    told = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in least.items())
    print(f"{told}; the machine's load {os.getloadavg()[0]:.1f}: hashing and copying need a second core that is free")
    kept = check_ratio("checkpoint / plain fsynced write", least["checkpoint"] / least["plain"], WRITE_LIMIT)
    kept &= check_ratio("the training waits / plain fsynced write", least["waiting"] / least["plain"], WAIT_LIMIT)
    kept &= check_ratio("share of a run that checkpoints may take", spacing, USUAL_LIMIT)
    return 0 if kept or options.no_check else 1


if __name__ == "__main__":
    raise SystemExit(main())
