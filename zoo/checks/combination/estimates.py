"""Estimates: the memory and the time that a training will take."""

from __future__ import annotations

import math
import statistics
import time

import torch
from torch import Tensor, nn

from zoo.checks.combination.subject import CombinationSubject
from zoo.data.splits import count_samples
from zoo.models.probe import count_flop
from zoo.training.optimizers import build_optimizer
from zoo.training.step import TrainStep


def estimate(subject: CombinationSubject) -> dict[str, float]:
    """Return what training takes: see `Diagnosis`. Time is that of a few steps on the device of the run."""
    plan = subject.plan
    model = subject.build(seed=plan.config.seed).to(plan.device)
    inputs, targets = (part.to(plan.device) for part in subject.batch())
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.nbytes for parameter in trainable)
    states = {"adam": 2, "adamw": 2}.get(plan.config.optimizer, 1 if plan.config.momentum else 0)
    kept = _measure_kept(model.train(), inputs, targets)
    step = TrainStep(model, nn.functional.cross_entropy, build_optimizer(model, plan.config))
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        float(step(inputs, targets))
        seconds.append(time.perf_counter() - started)
    spent = statistics.median(seconds[2:])
    found: dict[str, float] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(parameter.numel() for parameter in trainable),
        "flop_per_sample": count_flop(model, subject.cases[0][0], plan.device),
        "memory_bytes": sum(p.nbytes for p in model.parameters()) + size * (1 + states) + kept + inputs.nbytes,
        "step_seconds": spent,
    }
    samples = count_samples(subject.splits.train) if subject.splits else plan.dataset.spec.samples.get("train")
    if samples:
        found["epoch_seconds"] = spent * math.ceil(samples / plan.config.batch_size)
    return found


def _measure_kept(model: nn.Module, inputs: Tensor, targets: Tensor) -> int:
    """Return the bytes that a step keeps for its backward pass, each memory counted once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        nn.functional.cross_entropy(model(inputs), targets).backward()
    return sum(kept.values())
