"""Tuning: a learning rate and a batch size to begin with, measured on the model and the data themselves.

The rate comes from a range test: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn

from zoo.checks.combination.estimates import measure_saved
from zoo.checks.combination.measuring import go_on
from zoo.data.splits import count_samples
from zoo.errors import DownloadError, UsageError, is_out_of_memory, quote
from zoo.registry.places import Places
from zoo.training.optimizers import build_optimizer
from zoo.training.plan import Plan
from zoo.training.request import Request
from zoo.training.setup import Preparation, prepare
from zoo.training.step import build_step

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
"""The rates of the test, spaced evenly on a logarithmic axis."""
WINDOW = 9
"""Losses of which each smoothed one is the mean: those of batches scatter."""
DIVERGED = 4.0
"""Times the lowest smoothed loss at which the test ends."""
BELOW = 10.0
"""The suggested rate is so many times smaller than that of the lowest loss, from which on the loss rises again."""
LEARNED = 0.95
"""The share of the first loss that the lowest one must be below: at no rate has another one learned anything."""
SHARE = 0.5
"""Of the memory that is free: other programs, and the steps between a measurement and a training, need some too."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a range test and the memory suggest.

    Fields:
        lr: The learning rate to begin with, of one digit; None where no rate let the loss fall.
        rates: The rates that were tried, in order.
        losses: The mean loss of the batch at each, smoothed over nine of them, in nats.
        lowest: The rate of the lowest of these losses.
        steepest: The rate at which it fell most quickly.
        batch_size: The largest power of two that fits into memory, at most the samples of the training split.
        batch_size_by: How that is known: `tried` on an accelerator, `estimated` from what a step keeps on the CPU.
    """

    lr: float | None
    rates: list[float]
    losses: list[float]
    lowest: float
    steepest: float
    batch_size: int
    batch_size_by: str


def tune(plan: Plan, places: Places) -> Tuning:
    """Train a copy of what the run would train, for a hundred steps of rising rates; the model of the run is new.

    The batches are the run's own, in its order, and its optimizer has the settings of the run. What comes out is the
    same for the same seed, device and threads.

    Raises:
        UsageError: the files of the data set are not here; nothing is fetched.
        ZooError: see `zoo.training.setup.prepare`.
    """
    if not plan.config.epochs:
        plan = replace(plan, config=replace(plan.config, epochs=1))
    request = Request(plan=plan, places=replace(places, offline=True))
    try:
        ready = prepare(request)
    except DownloadError as error:
        fix = f"Fetch it first: zoo.fetch({plan.dataset.name!r})"
        what = f"tuning trains on dataset {quote(plan.dataset.name)}"
        raise UsageError(what, "its files are not here", fix) from error
    batch_size, by = find_batch_size(plan, ready)
    rates, losses = try_rates(plan, ready)
    smoothed = smooth(losses)
    lowest = smoothed.index(min(smoothed))
    falls = [later - earlier for earlier, later in pairwise(smoothed)][: lowest + 1]
    lr = float(f"{rates[lowest] / BELOW:.0e}") if smoothed[lowest] < LEARNED * smoothed[0] else None
    return Tuning(
        lr=lr,
        rates=rates,
        losses=smoothed,
        lowest=rates[lowest],
        steepest=rates[falls.index(min(falls))] if falls else rates[lowest],
        batch_size=batch_size,
        batch_size_by=by,
    )


def try_rates(plan: Plan, ready: Preparation) -> tuple[list[float], list[float]]:
    """Train with a rate that rises with each step; return the rates and the loss at each, up to a divergence."""
    config, model = plan.config, ready.model.train()
    optimizer = build_optimizer(model, config, head=ready.head, later=ready.later)
    own = [group["lr"] / config.lr for group in optimizer.param_groups]  # groups may have rates of their own
    step = build_step(model, ready.objective, optimizer, None, config)
    batches, rates, losses = go_on(ready.train), list[float](), list[float]()
    for number in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (STEPS - 1))
        for group, factor in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * factor
        found = [float(step(*next(batches))) for _ in range(config.accumulate)]
        loss = sum(found) / len(found)
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        smoothed = smooth(losses)
        if smoothed[-1] > DIVERGED * min(smoothed):
            break
    return rates, losses


def smooth(losses: list[float]) -> list[float]:
    """Return the mean of each loss and its neighbours, as many on one side as on the other."""
    found = []
    for index in range(len(losses)):
        reach = min(WINDOW // 2, index, len(losses) - 1 - index)
        part = losses[index - reach : index + reach + 1]
        found.append(sum(part) / len(part))
    return found


def find_batch_size(plan: Plan, ready: Preparation) -> tuple[int, str]:
    """Return the largest power of two that a step has memory for, and how that is known."""
    most = 1 << (count_samples(ready.splits.train).bit_length() - 1)
    if plan.device.type == "cpu":
        return min(most, _estimate_batch_size(plan, ready)), "estimated"
    size = 1
    while size < most and _fits(plan, ready, 2 * size):
        size *= 2
    return size, "tried"


def _estimate_batch_size(plan: Plan, ready: Preparation) -> int:
    """Return what has room in a share of the free memory, by what a step on a few samples keeps."""
    few, some = (_measure(plan, ready, samples) for samples in (2, 4))
    each = max(1, (some - few) // 2)
    room = int(SHARE * _find_free_memory()) // each
    return 1 << (max(1, room).bit_length() - 1)


def _measure(plan: Plan, ready: Preparation, samples: int) -> int:
    """Return the bytes that a step on so many samples keeps for its backward pass, with its inputs."""
    inputs = torch.zeros(samples, *ready.input_shape, device=plan.device)
    targets = torch.zeros(samples, dtype=torch.int64, device=plan.device)
    return measure_saved(_copy(ready.model), inputs, targets, ready.objective) + inputs.nbytes


def _fits(plan: Plan, ready: Preparation, samples: int) -> bool:
    """Tell whether the device has memory for a step on so many samples."""
    model = _copy(ready.model)
    step = build_step(model, ready.objective, build_optimizer(model, plan.config), None, plan.config)
    try:
        inputs = torch.zeros(samples, *ready.input_shape, device=plan.device)
        float(step(inputs, torch.zeros(samples, dtype=torch.int64, device=plan.device)))
        step.finish()
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        del model, step
        if plan.device.type == "cuda":
            torch.cuda.empty_cache()


def _copy(model: nn.Module) -> nn.Module:
    return deepcopy(model).train()


def _find_free_memory() -> int:
    """Return the bytes of memory that programs can still have; those of the whole machine where that is not known."""
    with suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        line = next(line for line in file if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 << 30
