"""Checks of a metric: that its value is that of the samples, whatever the batches and their order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from zoo.checks.base import Check, Fault, Skip
from zoo.checks.metric.subject import (
    BATCH,
    CLASSES,
    MANY,
    MANY_TOLERANCE,
    SAMPLES,
    SIZES,
    MetricSubject,
    _feed,
    cut,
    differ,
    feed,
    make_stream,
    update,
)
from zoo.checks.metric.values import check_bounds, check_classes, check_direction, check_empty, check_extremes
from zoo.checks.surroundings import check_unknown_param, check_use, keep_settings
from zoo.errors import PluginError, describe
from zoo.models.device import use_seed
from zoo.registry.factories import build_metric, load_factory
from zoo.registry.params import resolve_params
from zoo.training.metrics import MetricError, compute_metrics


def check_builds(subject: MetricSubject) -> str:
    """It is built for any number of classes and gives plain numbers.

    `update(logits, targets)`, `compute()` and `reset()`; compute gives a number or a dict of numbers, which are finite
    for 203 samples of every class. 10, 3 and 2 classes are tried; a number of classes that it has no meaning for is
    refused with a ValueError by the factory.
    """
    subject.params = resolve_params(subject.entry.spec, load_factory(subject.entry), {})
    shown, taken, refused = [], [], dict[int, PluginError]()
    for classes in CLASSES:
        try:
            metric = subject.build(classes)
            values = feed(metric, [make_stream(classes)])
            with keep_settings():
                _check_kind(metric.compute(), subject.definition)
        except PluginError as error:
            if isinstance(error.__cause__, ValueError):
                refused[classes] = error
                continue
            raise Fault(f"for {classes} classes: {error}", "Mend what raises it", subject.definition) from error
        except MetricError as error:
            fix = "Return a float, or a dict of them: {'cat': 0.9, 'dog': 0.8}"
            raise Fault(f"for {classes} classes: {error.what}: {error.why}", fix, subject.definition) from error
        except Fault:
            raise
        except Exception as error:
            fix = "Take logits (N, num_classes) and targets (N,)"
            raise Fault(f"for {classes} classes: {describe(error)}", fix) from error
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad or not values:
            seen = f"{bad[0].removeprefix('value.')} is {values[bad[0]]}" if bad else "compute() gives an empty dict"
            raise Fault(f"for {classes} classes: {seen}", "Give finite numbers", subject.definition)
        shown.append(f"{next(iter(values.values())):.4g} for {classes} classes")
        taken.append(classes)
    if not taken:
        first = refused[CLASSES[0]]
        raise Fault(f"for {CLASSES[0]} classes: {first}", "Mend what raises it", subject.definition) from first
    subject.classes = tuple(taken)
    return ", ".join([*shown, *(f"refuses {classes} classes" for classes in refused)])


def _check_kind(result: Any, where: str) -> None:
    for value in result.values() if isinstance(result, Mapping) else [result]:
        if isinstance(value, str | bytes | bool):
            seen = f"compute() gives {value!r}, of type {type(value).__name__}"
            raise Fault(seen, "Return a float, or a dict of floats", where)


def check_seed(subject: MetricSubject) -> str:
    """The seed does not change its value.

    A score is no draw.
    """
    stream = subject.make_stream()
    values = []
    for seed in (1, 2):
        with use_seed(seed):
            metric = build_metric(subject.entry, num_classes=subject.classes[0], params=subject.params)
            values.append(feed(metric, [stream]))
    if differing := differ(values[0], values[1]):
        raise Fault(f"under two seeds: {differing}", "Draw nothing at random", subject.definition)
    return "two seeds give the same"


def check_batches(subject: MetricSubject) -> str:
    """Its value does not depend on how the samples are cut into batches, or on how many they are.

    Otherwise the same model has another score with another batch size. One batch of 203 against 1, 64, 7, 100 and 31: a
    mean of the batches' means differs, since small batches count as much as large ones. Up to 1e-5 may differ. And
    20000 samples at once against batches of 61: small integers run over, and sums in float16 stand still. Up to 1e-4
    may differ, since float32 sums do by half of that.
    """
    where = subject.definition
    for classes in subject.classes:
        stream = make_stream(classes)
        differing = differ(subject.value([stream], classes), subject.value(cut(stream), classes))
        if differing:
            fix = "Add up counts or sums and the number of samples in update(), and divide once in compute()"
            raise Fault(f"in one batch and in five: {differing}", fix, where)
    order = torch.randperm(MANY, generator=torch.Generator().manual_seed(0))
    logits, targets = (part[order] for part in make_stream(subject.classes[0], samples=MANY))
    many = list(zip(logits.split(BATCH), targets.split(BATCH), strict=True))
    differing = differ(subject.value([(logits, targets)]), subject.value(many), MANY_TOLERANCE)
    if differing:
        fix = "Count in int or torch.int64, add up in float64, and keep every sample in the count"
        raise Fault(f"{MANY} samples at once and in batches of {BATCH}: {differing}", fix, where)
    subject.even = True
    return f"one batch of {SAMPLES} and batches of {', '.join(map(str, SIZES))} give the same"


def check_order(subject: MetricSubject) -> str:
    """Its value does not depend on the order of the samples.

    Otherwise it measures the data set's order. Three shuffles of one batch; up to 1e-5 may differ.
    """
    logits, targets = subject.make_stream()
    expected = subject.value([(logits, targets)])
    for seed in range(3):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(seed))
        differing = differ(expected, subject.value([(logits[order], targets[order])]))
        if differing:
            fix = "Treat every sample alike, and keep all of them or counts"
            raise Fault(f"in another order: {differing}", fix, subject.definition)
    return "three shuffles give the same"


def check_state(subject: MetricSubject) -> str:
    """reset() forgets everything, compute() changes nothing, and two metrics share nothing.

    An evaluation after each epoch uses one object: what is left of the epoch before, or belongs to the class and not to
    the object, gets into the next score.
    """
    first, second = subject.make_stream(), subject.make_stream(seed=1, right=0.2)
    expected = subject.value([second])
    metric, where = subject.build(), subject.definition
    feed(metric, [first])
    if differing := differ(expected, feed(metric, [second])):
        raise Fault(f"new and after reset(): {differing}", "Set all state anew in reset()", where)
    if differing := differ(expected, compute_metrics({"value": metric})):
        raise Fault(f"compute() a second time: {differing}", "Change no state in compute()", where)
    whole = feed(subject.build(), [first, second])
    with torch.inference_mode():
        metric.reset()
        update(metric, first)
        compute_metrics({"value": metric})
        update(metric, second)
        if differing := differ(whole, compute_metrics({"value": metric})):
            raise Fault(f"with a compute() in between: {differing}", "Change no state in compute()", where)
        one, other = subject.build(), subject.build()
        one.reset()
        other.reset()
        update(one, second)
        update(other, first)
        if differing := differ(expected, compute_metrics({"value": one})):
            raise Fault(f"alone and beside another one: {differing}", "Keep state in self, not in the class", where)
    return "reset forgets, compute changes nothing, two objects share nothing"


def check_merge(subject: MetricSubject) -> str:
    """Where it has merge(other), two halves merged are the whole, and stay two.

    That is how several processes add up their parts. 50 and 153 samples are merged, and both go on afterwards.
    """
    if not callable(getattr(subject.build(), "merge", None)):
        raise Skip("it has no merge()")
    where = subject.definition
    logits, targets = subject.make_stream()
    halves = [(logits[:50], targets[:50]), (logits[50:], targets[50:])]
    whole, alone, thrice = subject.value(halves), subject.value(halves[1:]), subject.value([*halves, halves[0]])
    with torch.inference_mode():
        one, other, empty = (subject.build() for _ in range(3))
        for metric in (one, other, empty):
            metric.reset()
        update(one, halves[0])
        update(other, halves[1])
        one.merge(other)  # type: ignore[attr-defined]
        if differing := differ(whole, compute_metrics({"value": one})):
            fix = "Add the other's counts or sums to one's own"
            raise Fault(f"whole and merged of two halves: {differing}", fix, where)
        if differing := differ(alone, compute_metrics({"value": other})):
            raise Fault(f"merge() changes the other one: {differing}", "Copy what is taken over", where)
        update(one, halves[0])
        if differing := differ(thrice, compute_metrics({"value": one})):
            raise Fault(f"going on after merge(): {differing}", "Let update() add to what was merged", where)
        empty.merge(other)  # type: ignore[attr-defined]
        if differing := differ(alone, compute_metrics({"value": empty})):
            raise Fault(f"merged into one without samples: {differing}", "Add the other's counts or sums", where)
        update(empty, halves[0])
        if differing := differ(alone, compute_metrics({"value": other})):
            seen = f"updating one changes the other that was merged into it: {differing}"
            raise Fault(seen, "Copy what is taken over, or add out of place", where)
    return "two halves merged are the whole"


def check_inputs(subject: MetricSubject) -> str:
    """It leaves logits and targets as they are, and keeps no logits.

    The next metric gets the same tensors, and the next batch may be written into the same memory. Targets may be kept.
    """
    logits, targets = subject.make_stream()
    given, wanted = logits.clone(), targets.clone()
    expected, metric = subject.value([(logits, targets)]), subject.build()
    with torch.inference_mode():
        metric.reset()
        metric.update(given, wanted)
        if not torch.equal(given, logits) or not torch.equal(wanted, targets):
            what = "logits" if not torch.equal(given, logits) else "targets"
            raise Fault(f"update() changes the {what}", "Work on a copy", subject.definition)
        given.zero_()
        if differing := differ(expected, compute_metrics({"value": metric})):
            seen = f"it keeps the batch itself, which changed later: {differing}"
            raise Fault(seen, "Keep counts, or copies", subject.definition)
    return "both are unchanged"


def check_settings(subject: MetricSubject) -> str:
    """It changes no setting of the process, neither when it is built nor when it is used.

    The seed and the thread count belong to the run: one that seeds torch makes the training after it repeat itself.
    """
    stream = subject.make_stream()

    def use() -> None:
        with torch.inference_mode():
            metric = build_metric(subject.entry, num_classes=subject.classes[0], params=subject.params)
            _feed(metric, [stream])

    check_use(use, subject.definition, "Draw nothing, or from a generator of its own")
    return "seed, threads, dtype and gradient mode stay"


def check_params(subject: MetricSubject) -> str:
    """Params are known by name.

    A param that is misspelt must be refused; a factory with `**params` that ignores what it does not know measures
    something else than was asked for, and says nothing.
    """

    def build(params: dict[str, Any]) -> object:
        return build_metric(subject.entry, num_classes=subject.classes[0], params=params)

    check_unknown_param(subject.entry, build, subject.definition)
    return f"{len(subject.params)} params, unknown ones are refused"


GATES = ("builds", "seed")
METRIC_CHECKS: Mapping[str, Check[MetricSubject]] = {
    "builds": check_builds,
    "params": check_params,
    "settings": check_settings,
    "seed": check_seed,
    "batches": check_batches,
    "order": check_order,
    "state": check_state,
    "merge": check_merge,
    "empty": check_empty,
    "extremes": check_extremes,
    "inputs": check_inputs,
    "direction": check_direction,
    "classes": check_classes,
    "bounds": check_bounds,
}
"""The checks in their order; after a failed one of GATES the rest makes no sense."""
