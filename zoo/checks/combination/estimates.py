"""Estimates: what a training takes in memory and time, measured on a few steps."""

from __future__ import annotations

import math
import statistics
import time

import torch
from torch import Tensor, nn

from zoo.checks.combination.subject import CombinationSubject
from zoo.data.batches import lay_last
from zoo.data.splits import count_samples
from zoo.models.flop import count_work
from zoo.models.layout import CHANNELS_LAST, choose_format, lay_model
from zoo.training.optimizers import build_optimizer
from zoo.training.precision import lower
from zoo.training.step import LossFunction, TrainStep


def estimate(subject: CombinationSubject) -> dict[str, float]:
    """Return what a training takes, as `Diagnosis` lists it; the time is that of seven steps on the run's device."""
    plan = subject.plan
    model = subject.build(seed=plan.config.seed).to(plan.device)
    inputs, targets = (part.to(plan.device) for part in subject.batch())
    input_shape = subject.cases[0][0]
    work = count_work(model, input_shape, plan.device)
    layout = choose_format(plan.config.memory_format, model, input_shape, work, plan.device, trains=True)
    lay_model(model, layout)
    inputs = lay_last(inputs) if layout == CHANNELS_LAST else inputs
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    trainable_bytes = sum(parameter.nbytes for parameter in trainable)
    optimizer_states = {"adam": 2, "adamw": 2}.get(plan.config.optimizer, 1 if plan.config.momentum else 0)
    saved_bytes = measure_saved(model.train(), inputs, targets)
    forward = lower(model, plan.config.precision, plan.device)
    step = TrainStep(forward, nn.functional.cross_entropy, build_optimizer(model, plan.config))
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        float(step(inputs, targets))
        seconds.append(time.perf_counter() - started)
    step_seconds = statistics.median(seconds[2:])  # the first two steps also allocate memory
    estimates: dict[str, float] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(parameter.numel() for parameter in trainable),
        "flop_per_sample": work.flop,
        "memory_bytes": sum(parameter.nbytes for parameter in model.parameters())
        + trainable_bytes * (1 + optimizer_states)
        + saved_bytes
        + inputs.nbytes,
        "step_seconds": step_seconds,
    }
    samples = count_samples(subject.splits.train) if subject.splits else plan.dataset.spec.samples.get("train")
    if samples:
        estimates["epoch_seconds"] = step_seconds * math.ceil(samples / plan.config.batch_size)
    return estimates


def measure_saved(
    model: nn.Module, inputs: Tensor, targets: Tensor, loss_function: LossFunction = nn.functional.cross_entropy
) -> int:
    """Return the bytes that a step saves for its backward pass, each piece of memory counted once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_function(model(inputs), targets).backward()
    return sum(saved.values())
