"""Estimates: what a training takes in memory and time, measured on some of its steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo.checks.combination.measuring import MOST, WARM, Watched, count_workers, go_on, is_enough, wait
from zoo.checks.combination.neighbours import beside
from zoo.checks.combination.subject import INSPECTED, CombinationSubject
from zoo.checks.combination.sums import time_sums
from zoo.data.batch import Batches
from zoo.data.batches import TensorBatches
from zoo.data.ranks import Ranks, find_ranks
from zoo.data.splits import DataSplits, count_samples
from zoo.errors import DivergedError
from zoo.models.flop import count_flop
from zoo.models.memory import forget_peak, read_peak
from zoo.registry.factories import build_model
from zoo.training.average import Average
from zoo.training.inputs import make_test_batches, make_train_batches
from zoo.training.objective import make_objective
from zoo.training.optimizers import build_optimizer
from zoo.training.plan import Plan
from zoo.training.setup import build_metrics, settle_speed
from zoo.training.step import LossFunction, TrainStep, build_step
from zoo.training.trainer import evaluate

STILL = 1e-12
"""A learning rate at which no training diverges."""


def estimate(subject: CombinationSubject) -> dict[str, float]:
    """Return what a training takes, as `Diagnosis` lists it.

    The model takes steps as the run would, on its device, and evaluates a part of a split; where the files of the data
    set are not here, on random images in their place. Of several processes it is what the first one takes.
    """
    plan, shape = subject.plan, subject.cases[0][0]
    count = plan.config.processes or find_ranks().count
    plan = replace(plan, ranks=Ranks(count=count, local_count=count))
    torch.manual_seed(plan.config.seed)
    # As a run builds it: what the checks note of a model that they build would keep its steps from being captured.
    model = build_model(plan.model, input_shape=shape, num_classes=subject.classes, params=plan.params).to(plan.device)
    plan, _ = settle_speed(plan, model, shape, trains=True)
    splits, counts = subject.splits or make_splits(subject), count_splits(subject)
    classes, spec = len(splits.class_names), plan.model.spec
    # Balanced weights would have to be counted, which may mean to read every sample; a step takes as long with others.
    weights = None if plan.config.class_weights is None else torch.ones(classes)
    params = plan.config.loss_params or {}
    objective = make_objective(plan.loss, params, weights, spec.aux_weights, classes, plan.device)
    train = make_train_batches(plan, splits, model, subject.preprocess, subject.raw_shape)
    judged = splits.test if splits.validation is None else splits.validation
    test = make_test_batches(plan, splits, judged, subject.preprocess, subject.raw_shape)
    inputs, targets = train.first()
    saved = measure_saved(model.train(), inputs, targets, objective)
    # The weights stay what they are: what a rate does to them is no matter of time or memory.
    optimizer = build_optimizer(model, replace(plan.config, lr=STILL, head_lr=None))
    average = None if plan.config.ema is None else Average(model, plan.config.ema)
    step = build_step(model, objective, optimizer, None, plan.config, average, capture=spec.capture)
    steps = math.ceil(counts.get("train", 0) / plan.config.batch_size)
    step.start(0, steps, max(steps, steps * plan.config.epochs))
    forget_peak(plan.device)
    with beside(plan.ranks, plan.device):
        started, step_seconds = time_steps(plan, step, train)
        judge = model if average is None else average.module
        test_started, sample_seconds = time_evaluation(plan, judge, test, classes)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    own = sum(tensor.nbytes for tensor in model.state_dict().values() if isinstance(tensor, Tensor))
    kept = plan.config.epochs > 1 and plan.device.type == "cpu"  # the copy of the best epoch lies in main memory
    parts = {
        "model_bytes": own * (1 + kept + (average is not None)),
        "gradient_bytes": sum(parameter.nbytes for parameter in trained) * (1 + (count > 1)),
        "optimizer_bytes": sum_bytes(state.values() for state in optimizer.state.values()),
        "activation_bytes": saved,
        "data_bytes": inputs.nbytes + count_data(subject, [train, test], counts),
    }
    estimates: dict[str, float] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(parameter.numel() for parameter in trained),
        "flop_per_sample": count_flop(model, shape, plan.device),
        "memory_bytes": sum(parts.values()),
        **parts,
        "step_seconds": step_seconds,
    }
    if (peak := read_peak(plan.device)) is not None:
        estimates["peak_bytes"] = peak
    if steps:
        estimates["epoch_seconds"] = started + step_seconds * steps
    if judging := counts.get("validation", counts.get("test")):
        estimates["evaluation_seconds"] = test_started + sample_seconds * judging / count
    if (sums := time_sums(plan, [parameter.numel() for parameter in trained])) is not None:
        estimates["sum_seconds"] = sums
        estimates["step_seconds"] += sums
        if steps:
            estimates["epoch_seconds"] += sums * steps
    return estimates


def count_splits(subject: CombinationSubject) -> dict[str, int]:
    """Return the samples of each split as far as they are known, some of the training held back where that is asked."""
    counts = dict(subject.plan.dataset.spec.samples)
    if subject.splits is not None:
        counts = {name: count_samples(split) for name, split in subject.splits.items()}
    if (share := subject.plan.config.validation) and "train" in counts:
        counts["validation"] = round(share * counts["train"])
        counts["train"] -= counts["validation"]
    return counts


def make_splits(subject: CombinationSubject) -> DataSplits:
    """Return splits of random raw images that have the shape which the data set declares."""
    samples = max(INSPECTED, subject.plan.config.batch_size)
    generator = torch.Generator().manual_seed(subject.plan.config.seed)
    images = torch.randint(256, (samples, *subject.raw_shape), dtype=torch.uint8, generator=generator)
    split = images, torch.arange(samples) % subject.classes
    return DataSplits(train=split, test=split, class_names=tuple(map(str, range(subject.classes))))


def count_data(subject: CombinationSubject, batches: Iterable[Batches], counts: Mapping[str, int]) -> int:
    """Return the bytes of the samples that are in the memory of the device, as they are declared or as they are."""
    if subject.splits is None:
        return sum(counts.values()) * math.prod(subject.raw_shape)
    tensors = [part for _, split in subject.splits.items() if isinstance(split, tuple) for part in split]
    tensors += [each.images for each in batches if isinstance(each, TensorBatches)]
    here = {tensor.data_ptr(): tensor.nbytes for tensor in tensors if tensor.device.type == subject.plan.device.type}
    return sum(here.values())


def time_steps(plan: Plan, step: TrainStep, train: Batches) -> tuple[float, float]:
    """Return the seconds in which the workers of an epoch start, and those of a step with the reading of its batch."""
    if count_workers(train):
        inputs, targets = train.first()
        for _ in range(WARM):
            step(inputs, targets)
        watched = Watched(train, plan.device)
        for batch in watched.epoch(0):
            step(*batch)
        return watched.start, watched.each
    batches, started = go_on(train), time.perf_counter()
    for _ in range(WARM):
        step(*next(batches))
        if time.perf_counter() - started >= MOST:
            break
    wait(plan.device)
    started, count = time.perf_counter(), 0
    while not is_enough(count, time.perf_counter() - started):
        step(*next(batches))
        count += 1
    wait(plan.device)
    return 0.0, (time.perf_counter() - started) / count


def time_evaluation(plan: Plan, model: nn.Module, test: Batches, classes: int) -> tuple[float, float]:
    """Return the seconds in which the workers of an evaluation start, and those of a sample.

    With a sample is meant the reading of its batch, the model and the metrics.
    """
    metrics, started = build_metrics(plan, classes), time.perf_counter()
    for _ in range(1 if count_workers(test) else 2):  # the first time also allocates memory
        watched = Watched(test, plan.device)
        with suppress(DivergedError):  # a model whose numbers overflow takes as long
            evaluate(model, watched, metrics)
        if time.perf_counter() - started >= MOST:
            break
    return watched.start, watched.each / max(1, len(test.first()[1]))


def sum_bytes(groups: Iterable[Iterable[object]]) -> int:
    """Return the bytes of all tensors in groups."""
    return sum(part.nbytes for group in groups for part in group if isinstance(part, Tensor))


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
    model.zero_grad()
    return sum(saved.values())
