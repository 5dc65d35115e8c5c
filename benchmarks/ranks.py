"""What an epoch takes two ranks of zoo, against a loop by hand with DistributedDataParallel on the same batches.

Both train in the same two processes, in turns, on gloo. zoo's loss of an epoch is that of all samples, DDP's that of
its own half; nothing else is left out of either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from measure import alternate, check_ratio, find_ratio, make_parser
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from zoo.data.batch import Batches, BatchSettings
from zoo.data.batches import TensorBatches
from zoo.data.ranks import find_ranks
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.group import Group
from zoo.training.trainer import Trainer, train_one_epoch
from zoo_plugins.models.small_resnet import SmallResNet
from zoo_plugins.models.tinyvgg import TinyVGG

LIMIT = 1 / 0.97
CPU = torch.device("cpu")
SHAPE, CLASSES, BATCH, LR = (1, 28, 28), 10, 128, 0.01
MODELS: dict[str, Any] = {"tinyvgg": TinyVGG, "small-resnet": SmallResNet}


class Contest:
    """The contenders, each of which trains a new model for an epoch."""

    def __init__(self, model: str, group: Group, samples: int) -> None:
        self.model, self.group = model, group
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (samples, *SHAPE), generator=generator, dtype=torch.uint8)
        targets = torch.randint(CLASSES, (samples,), generator=generator)
        settings = BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=42, ranks=group.ranks)
        self.batches: Batches = TensorBatches(images, targets, Preprocess(), settings, CLASSES)

    def build(self) -> nn.Module:
        """Return a new model."""
        torch.manual_seed(0)
        built: nn.Module = MODELS[self.model](input_shape=SHAPE, num_classes=CLASSES)
        return built

    def zoo(self) -> float:
        """Train as `Trainer.fit` does, without capture: the same operations as by hand."""
        config = TrainConfig(batch_size=BATCH, lr=LR, capture=False)
        trainer = Trainer(self.build(), config, CPU, group=self.group)
        step = trainer.prepare(len(self.batches))
        self.group.meet()
        start = perf_counter()
        train_one_epoch(trainer.model, step, self.batches, trainer.losses, 0, later=10 * len(self.batches))
        self.group.meet()
        return perf_counter() - start

    def by_hand(self) -> float:
        """Train as the tutorial of DistributedDataParallel does."""
        model = DistributedDataParallel(self.build())
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        model.train()
        self.group.meet()
        start, total = perf_counter(), 0.0
        for inputs, targets in self.batches.epoch(0):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        self.group.meet()
        return perf_counter() - start


def measure(rounds: int, samples: int, output: Path) -> None:
    """Be one of the ranks; the first one writes what was measured."""
    torch.set_num_threads(1)
    ranks = find_ranks()
    group, times = Group(ranks, CPU), dict[str, Any]()
    for model in MODELS:
        contest = Contest(model, group, samples)
        contenders = {"zoo": contest.zoo, "by hand": contest.by_hand}
        alternate(1, contenders)  # what is made when a thing is done for the first time
        times[model] = alternate(rounds, contenders)
    if ranks.is_first:
        output.write_text(json.dumps(times))
    dist.destroy_process_group()


def main() -> None:
    parser = make_parser(__doc__, rounds=20)
    parser.add_argument("--samples", type=int, default=1024, help="of an epoch")
    parser.add_argument("--output", type=Path, help="of a rank: where the first one writes what it measured")
    given = parser.parse_args()
    if given.output is not None:
        measure(given.rounds, given.samples, given.output)
        return
    with TemporaryDirectory() as folder, socket() as server:
        server.bind(("127.0.0.1", 0))
        output, port = Path(folder, "times.json"), server.getsockname()[1]
        server.close()
        start = [
            "-m",
            "torch.distributed.run",
            "--nproc-per-node=2",
            "--master-addr=127.0.0.1",
            f"--master-port={port}",
        ]
        own = [__file__, "--rounds", str(given.rounds), "--samples", str(given.samples), "--output", str(output)]
        subprocess.run([sys.executable, *start, *own], check=True)
        times = json.loads(output.read_text())
    kept = []
    for model, measured in times.items():
        told = f"{model}: {given.samples / min(measured['zoo']):,.0f} samples a second"
        kept.append(check_ratio(told, find_ratio(measured, "zoo", "by hand"), LIMIT))
    if not all(kept) and not given.no_check:
        sys.exit(1)


if __name__ == "__main__":
    main()
