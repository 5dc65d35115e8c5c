"""Neighbours: processes that are as busy as the other ranks of a training would be, on the cores beside this one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zoo.data.ranks import Ranks
from zoo.data.workers import count_bearable
from zoo.errors import describe
from zoo.storage.processes import Process, Write

log = logging.getLogger("zoo")

PATIENCE = 60.0
"""Seconds after which a process is given up that does not say that it works: it has to start, and torch with it."""


@contextmanager
def beside(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Run the body with a busy process for each other rank of this machine, where they compute on its processor.

    Two cores are often halves of one, and all share the memory: a rank that is timed alone is faster, by up to a half.
    """
    others = ranks.local_count - 1 if device.type == "cpu" and ranks.local_count <= count_bearable() else 0
    busy = list[Process]()
    try:
        for _ in range(others):
            busy.append(Process(work, {"OMP_NUM_THREADS": "1"}))
            busy[-1].send({})
        for each in busy:
            each.receive(PATIENCE)
    except (OSError, EOFError) as error:
        log.warning(
            "other ranks could not be imitated, so that a step takes longer than estimated: %s", describe(error)
        )
    try:
        yield
    finally:
        for each in busy:
            each.close()


def make_work() -> Callable[[], None]:
    """Return a step of a small convolutional model, some milliseconds of work for one core."""
    model = nn.Sequential(nn.Conv2d(10, 10, 3, padding=1), nn.ReLU(), nn.Conv2d(10, 10, 3, padding=1), nn.ReLU())
    model, inputs = model.to(memory_format=torch.channels_last), torch.rand(16, 10, 28, 28)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    return lambda: model(inputs).sum().backward()


def work(_: dict[str, Any], write: Write) -> None:
    """Work until the process that asked for it ends this one, or ends itself."""
    torch.set_num_threads(1)
    step, starter, told = make_work(), os.getppid(), False
    while os.getppid() == starter:
        step()
        if not told:
            write({})
            told = True
