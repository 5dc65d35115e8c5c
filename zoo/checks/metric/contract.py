"""Checks of a metric: its value depends on the samples alone, whatever the batches and their order."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from zoo.checks.base import Check, Fault
from zoo.checks.metric.classes import check_classes
from zoo.checks.metric.pairs import check_merge, check_sharing
from zoo.checks.metric.subject import SAMPLES, MetricSubject, compute, cut, evaluate, make_stream, require_same, update
from zoo.checks.metric.values import check_bounds, check_direction, check_empty, check_extremes
from zoo.checks.settings import check_use, keep_settings
from zoo.checks.subject import CLASSES, check_params
from zoo.errors import PluginError, describe
from zoo.models.device import use_seed
from zoo.registry.factories import build_metric, load_factory
from zoo.registry.params import resolve_params
from zoo.training.metrics import MetricError

SIZES = (1, 64, 7, 100, 31)
"""Sizes of batches: uneven, so that the mean of their means is not the mean over the samples."""

MANY, MANY_BATCH = 20_000, 61
"""Samples and batches of a stream that is too long for counts of 8 bits and sums of 16. In float16 2048 + 1 is 2048, in
bfloat16 256 + 1 is 256."""

LONG, QUICK = 200_000, 0.1
"""Samples of the longest stream, and processor seconds that MANY may take for it to be tried."""

MANY_TOLERANCE = 1e-4
"""How far values of MANY samples may differ: float32 sums that grow sample by sample differ by half of that."""


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
            values = evaluate(metric, [make_stream(classes)])
            with keep_settings():
                _check_result_type(metric.compute())
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
            seen = f"{bad[0]} is {values[bad[0]]}" if bad else "compute() gives an empty dict"
            raise Fault(f"for {classes} classes: {seen}", "Give finite numbers")
        shown.append(f"{next(iter(values.values())):.4g} for {classes} classes")
        taken.append(classes)
    if not taken:
        first = refused[CLASSES[0]]
        raise Fault(f"for {CLASSES[0]} classes: {first}", "Mend what raises it", subject.definition) from first
    subject.classes = tuple(taken)
    return ", ".join([*shown, *(f"refuses {classes} classes" for classes in refused)])


def _check_result_type(result: Any) -> None:
    for value in result.values() if isinstance(result, Mapping) else [result]:
        if isinstance(value, str | bytes | bool):
            seen = f"compute() gives {value!r}, of type {type(value).__name__}"
            raise Fault(seen, "Return a float, or a dict of floats")


def check_seed(subject: MetricSubject) -> str:
    """The seed does not change its value.

    A score is no draw.
    """
    stream, values = subject.make_stream(), []
    for seed in (1, 2):
        with use_seed(seed):
            metric = build_metric(subject.entry, num_classes=subject.classes[0], params=subject.params)
            values.append(evaluate(metric, [stream]))
    require_same(values[0], values[1], "under two seeds", "Draw nothing at random")
    return "two seeds give the same"


def check_batches(subject: MetricSubject) -> str:
    """Its value does not depend on how the samples are cut into batches, or on how many they are.

    Otherwise the same model has another score with another batch size. One batch of 203 against 1, 64, 7, 100 and 31: a
    mean of the batches' means differs, since small batches count as much as large ones. Up to 1e-5 may differ. And
    20000 samples at once against batches of 61: small integers run over, and sums in float16 stand still. Up to 1e-4
    may differ, since float32 sums do by half of that.
    """
    fix = "Add up counts or sums and the number of samples in update(), and divide once in compute()"
    for classes in subject.classes:
        stream = make_stream(classes)
        values = subject.value([stream], classes), subject.value(cut(stream, SIZES), classes)
        require_same(*values, "in one batch and in five", fix)
    order = torch.randperm(MANY, generator=torch.Generator().manual_seed(0))
    logits, targets = (part[order] for part in make_stream(subject.classes[0], samples=MANY))
    fix = "Count in int or torch.int64, add up in float64, and keep every sample in the count"
    values = subject.value([(logits, targets)]), subject.value(cut((logits, targets), MANY_BATCH))
    require_same(*values, f"{MANY} samples at once and in batches of {MANY_BATCH}", fix, MANY_TOLERANCE)
    subject.even = True
    return f"one batch of {SAMPLES} and batches of {', '.join(map(str, SIZES))} give the same"


def check_order(subject: MetricSubject) -> str:
    """Its value does not depend on the order of the samples.

    Otherwise it measures the data set's order. Three shuffles of one batch; up to 1e-5 may differ. And 20000 samples,
    200000 where that is quick, forwards and backwards, the right ones first or last: a window of the newest thousand
    shows only there.
    """
    logits, targets = subject.make_stream()
    expected, fix = subject.value([(logits, targets)]), "Treat every sample alike, and keep all of them or counts"
    for seed in range(3):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(seed))
        shuffled = subject.value([(logits[order], targets[order])])
        require_same(expected, shuffled, "in another order", fix)
    if not subject.even:  # the batches alone change its value
        return "three shuffles give the same"
    samples = MANY
    for samples in (MANY, LONG):
        started = time.process_time()
        logits, targets = make_stream(subject.classes[0], samples=samples)
        batches = cut((logits, targets), samples // 33)
        values = subject.value(batches), subject.value(batches[::-1])
        require_same(*values, f"{samples} samples forwards and backwards", fix, MANY_TOLERANCE)
        if time.process_time() - started > QUICK:
            break
    return f"three shuffles, and {samples} samples forwards and backwards give the same"


def check_state(subject: MetricSubject) -> str:
    """reset() forgets everything, compute() changes nothing, and two metrics share nothing.

    An evaluation after each epoch uses one object: what is left of the epoch before, or belongs to the class and not to
    the object, gets into the next score.
    """
    first, second = subject.make_stream(), subject.make_stream(seed=1, right=0.2)
    expected = subject.value([second])
    metric = subject.build()
    evaluate(metric, [first])
    require_same(expected, evaluate(metric, [second]), "new and after reset()", "Set all state anew in reset()")
    fix = "Change no state in compute()"
    require_same(expected, compute(metric), "compute() a second time", fix)
    whole = evaluate(subject.build(), [first, second])
    with torch.inference_mode():
        metric.reset()
        update(metric, first)
        compute(metric)
        update(metric, second)
        require_same(whole, compute(metric), "with a compute() in between", fix)
        metric, other = subject.build(), subject.build()
        metric.reset()
        other.reset()
        update(metric, second)
        update(other, first)
        require_same(expected, compute(metric), "alone and beside another one", "Keep state in self, not in the class")
    return "reset forgets, compute changes nothing, two objects share nothing"


def check_inputs(subject: MetricSubject) -> str:
    """It leaves logits and targets as they are, keeps no logits, and looks at their values alone.

    The next metric gets the same tensors, and the next batch may be written into the same memory, so that neither
    `id()` nor an address tells batches apart. Logits of a model may lie transposed in memory. Targets may be kept.
    """
    logits, targets = subject.make_stream()
    given_logits, given_targets = logits.clone(), targets.clone()
    expected, metric = subject.value([(logits, targets)]), subject.build()
    with torch.inference_mode():
        metric.reset()
        metric.update(given_logits, given_targets)
        for name, given, original in (("logits", given_logits, logits), ("targets", given_targets, targets)):
            if not torch.equal(given, original):
                raise Fault(f"update() changes the {name}", "Work on a copy")
        given_logits.zero_()
        label = "it keeps the batch itself, which changed later"
        require_same(expected, compute(metric), label, "Keep counts, or copies")
    other_logits, metric = logits.flip(1), subject.build()
    expected = subject.value([(logits, targets), (other_logits, targets)])
    with torch.inference_mode():
        metric.reset()
        metric.update(given_logits.copy_(logits), given_targets)
        metric.update(given_logits.copy_(other_logits), given_targets)
        label = "two batches apart and in the same tensors"
        require_same(expected, compute(metric), label, "Compute anew in each update(), and remember no tensor")
        metric = subject.build()
        metric.reset()
        metric.update(logits.T.contiguous().T, targets)
        metric.update(torch.stack([other_logits, logits], dim=-1)[..., 0], targets)
        fix = "Use reshape() instead of view(), and no strides or addresses"
        require_same(expected, compute(metric), "logits that lie one after another and otherwise in memory", fix)
    return "both are unchanged, and only their values count"


def check_settings(subject: MetricSubject) -> str:
    """It changes no setting of the process, neither when it is built nor when it is used.

    The seed and the thread count belong to the run: one that seeds torch makes the training after it repeat itself.
    """
    stream = subject.make_stream()

    def use() -> None:
        with torch.inference_mode():
            metric = build_metric(subject.entry, num_classes=subject.classes[0], params=subject.params)
            metric.reset()
            update(metric, stream)
            compute(metric)

    check_use(use, "Draw nothing, or from a generator of its own")
    return "seed, threads, dtype and gradient mode stay"


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
    "sharing": check_sharing,
    "empty": check_empty,
    "extremes": check_extremes,
    "inputs": check_inputs,
    "direction": check_direction,
    "classes": check_classes,
    "bounds": check_bounds,
}
"""The checks in their order; when one of GATES fails, the checks after it are not tried."""
