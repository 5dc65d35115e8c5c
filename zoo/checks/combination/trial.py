"""Trials: short trainings that show what a layer costs, and whether a model can learn a batch by heart."""

from __future__ import annotations

import math
import statistics
import time
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.combination.subject import CombinationSubject, read_inputs
from zoo.checks.source import find_definition
from zoo.data.splits import find_input_shape
from zoo.training.optimizers import build_optimizer
from zoo.training.plan import Plan
from zoo.training.step import TrainStep

COST_STEPS, COST_SECONDS, COST_SEEDS, COST_SAMPLES = 300, 4.0, 3, 1000
"""How training with and without an activation on the logits is compared: steps each, processor seconds after which no
further seed is begun, seeds, test samples."""

OVERFIT_STEPS, OVERFIT_SECONDS = 500, 30.0


def compare_without(subject: CombinationSubject, path: str) -> str:
    """Return in words what a layer costs: accuracy after a short training with and without it, "" without data."""
    if subject.splits is None:
        return ""
    plan, splits = subject.plan, subject.splits
    raw = find_input_shape(plan.dataset.name, splits)
    shown = COST_STEPS * plan.config.batch_size
    train = read_inputs(plan, splits, splits.train, subject.preprocess, raw, min(shown, 20_000))
    test = read_inputs(plan, splits, splits.test, subject.preprocess, raw, COST_SAMPLES)
    scores: list[list[float]] = []
    started = time.process_time()
    for seed in range(plan.config.seed, plan.config.seed + COST_SEEDS):
        pair = []
        for kept in (True, False):
            model = subject.build(seed=seed)
            if not kept:
                parent, _, name = path.rpartition(".")
                setattr(model.get_submodule(parent), name, nn.Identity())
            pair.append(_train_briefly(model, plan, train, test))
        scores.append(pair)
        if time.process_time() - started > COST_SECONDS:
            break
    with_it, without = (statistics.mean(values) for values in zip(*scores, strict=True))
    seeds = f"{len(scores)} seed{'s' if len(scores) > 1 else ''}"
    result = f"{with_it:.0%} of {len(test[1])} test samples are right with it, {without:.0%} without"
    return f"; after {COST_STEPS} training steps ({seeds}) {result}"


def _train_briefly(model: nn.Module, plan: Plan, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    step = TrainStep(model.train(), nn.functional.cross_entropy, build_optimizer(model, plan.config))
    size = max(2, plan.config.batch_size)
    batches = list(zip(train[0].split(size), train[1].split(size), strict=True))
    for inputs, targets in islice(cycle(batches), COST_STEPS):
        step(inputs, targets)
    with torch.no_grad():
        return float((model.eval()(test[0]).argmax(dim=1) == test[1]).float().mean())


def check_overfit(subject: CombinationSubject) -> str:
    """It can learn one batch by heart.

    A model that cannot do that has a fault in itself, not in its data. Adam, at most 500 steps each with rates of 0.001
    and 0.01, must get all of the batch right with a tenth of the loss of guessing, in 30 seconds.
    """
    inputs, targets = subject.batch()
    goal, best, hits = math.log(subject.classes) / 10, math.inf, 0
    started = time.perf_counter()
    for lr in (1e-3, 1e-2):
        model = subject.build(seed=subject.plan.config.seed)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        step = TrainStep(model.train(), nn.functional.cross_entropy, torch.optim.Adam(parameters, lr=lr, foreach=False))
        for count in range(1, OVERFIT_STEPS + 1):
            loss = float(step(inputs, targets))
            best = min(best, loss)
            if loss < goal or count == OVERFIT_STEPS:
                with torch.no_grad():
                    hits = max(hits, int((model(inputs).argmax(dim=1) == targets).sum()))
                if hits == len(targets):
                    return f"all {hits} samples of a batch right, loss {loss:.3f}, after {count} steps"
            if time.perf_counter() - started > OVERFIT_SECONDS:
                break
    fix = "Train it by hand on this batch and look where the gradients vanish"
    seen = f"at best {hits} of the {len(targets)} samples of a batch right, loss {best:.3f}"
    raise Fault(seen, fix, find_definition(type(model)))
