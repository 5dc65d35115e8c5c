"""Sums: how long several ranks take to add up gradients, and to wait for each other; as many processes measure it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from zoo.checks.combination.measuring import WARM
from zoo.checks.combination.neighbours import make_work
from zoo.data.ranks import VARIABLES, find_ranks
from zoo.data.workers import count_bearable
from zoo.errors import describe
from zoo.storage.processes import Process, Write, find_port
from zoo.training.group import Group
from zoo.training.plan import Plan
from zoo.training.rank_step import Gradients

log = logging.getLogger("zoo")

SECONDS = 0.5
"""How long sums take together, at least."""
PATIENCE = 60.0
"""Seconds after which the processes are given up: they have to start, and torch with them."""


def time_sums(plan: Plan, sizes: Sequence[int]) -> float | None:
    """Return the seconds a batch that the ranks of a plan take to add up gradients of so many values each.

    The ranks are those of one machine. None where there is one rank, where they train on accelerators, or where they
    are more than this machine can bear: then nothing can be measured here.
    """
    count = plan.ranks.count
    if not plan.ranks.are_several or plan.device.type != "cpu" or count > count_bearable():
        return None
    question = {"sizes": list(sizes), "accumulate": plan.config.accumulate}
    # Not the store of a torchrun that may have started this process.
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_port()), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    ranks = list[Process]()
    try:
        for index in range(count):
            numbers = {"index": index, "count": count, "local": index, "local_count": count}
            told = {VARIABLES[field]: str(number) for field, number in numbers.items()}
            ranks.append(Process(add_up, {**place, **told, "OMP_NUM_THREADS": "1"}))
            ranks[-1].send(question)
        seconds: float = ranks[0].receive(PATIENCE)["seconds"]
        return seconds
    except (OSError, EOFError) as error:
        log.warning("the time to add up gradients could not be measured: %s", describe(error))
        return None
    finally:
        for each in ranks:
            each.close()


def add_up(question: dict[str, Any], write: Write) -> None:
    """Be one of the ranks: add up gradients until the first one has seen enough."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    group, parameters = Group(find_ranks(), device), [nn.Parameter(torch.zeros(size)) for size in question["sizes"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    gradients, loss, step = Gradients(parameters, device), torch.zeros(()), make_work()
    seconds, rounds = 0.0, -WARM
    while not group.granted[0]:
        for number in range(question["accumulate"]):
            step()  # no two ranks are done with it at once
            started = time.perf_counter()
            group.exchange(gradients, loss, 1, 1, whole=number == 0)
            seconds += time.perf_counter() - started if rounds >= 0 else 0.0
        rounds += 1
        group.wishes[0] = seconds > SECONDS
    write({"seconds": seconds / rounds / question["accumulate"]})
