"""Checks of the values of a metric: without samples, in extreme cases, their direction and their bounds."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from zoo.checks.base import Fault, Skip
from zoo.checks.metric.classes import make_perfect
from zoo.checks.metric.subject import TOLERANCE, MetricSubject, compute, make_stream, require_same
from zoo.errors import describe
from zoo.training.metrics import MetricError


def check_empty(subject: MetricSubject) -> str:
    """No samples and one class are answered, not crashed on.

    Without samples: a number, nan, or an error of arithmetic or torch (ValueError, ZeroDivisionError, RuntimeError), as
    zoo never asks for it; not inf, which would be the best of all losses or scores, and no error of missing state. An
    empty batch is refused, or changes nothing. Samples of one class only, as in a small or filtered data set, give a
    finite number.
    """
    with torch.inference_mode():
        metric = subject.build()
        metric.reset()
        try:
            values = compute(metric)
        except MetricError as error:
            values = {}
            if not isinstance(error.__cause__, ValueError | ArithmeticError | RuntimeError):
                fix = "Raise ValueError('no samples'), or return nan"
                raise Fault(f"compute() without samples: {error.why}", fix, subject.definition) from error
    if any(math.isinf(value) for value in values.values()):
        raise Fault("compute() without samples gives inf", "Raise ValueError, or return nan")
    logits, targets = subject.make_stream()
    fix = "Let classes without samples be: leave them out of the mean, or count them as 0"
    try:
        one_class = subject.value([(logits, torch.zeros_like(targets))])
    except Exception as error:
        raise Fault(f"samples of one class only: {describe(error)}", fix) from error
    for name, value in one_class.items():
        if not math.isfinite(value):
            raise Fault(f"samples of one class only give {name} {value}", fix)
    if not subject.even:  # its values may change with any batch, so that an empty one proves nothing
        return "no samples and one class are answered"
    expected = subject.value([(logits, targets)])
    try:
        with_empty = subject.value([(logits, targets), (logits[:0], targets[:0])])
    except Exception:  # noqa: BLE001 an empty batch may be refused, since zoo makes none
        with_empty = expected
    require_same(expected, with_empty, "without and with an empty batch", "Let it change nothing")
    return "no samples, an empty batch and one class are answered"


def check_extremes(subject: MetricSubject) -> str:
    """Predictions of one class only, equal logits and large ones give finite numbers.

    A new model often predicts one class for everything, one with zeros in its last layer gives equal logits, and one
    that is sure of itself gives large ones: logits are multiplied by 100, where exp() of them is inf in float32.
    """
    logits, targets = subject.make_stream()
    one_class = logits.clone()
    one_class[:, 0] += 20
    tried = {
        "one class predicted for all": one_class,
        "equal logits": torch.zeros_like(logits),
        "logits times 100": 100 * logits,
    }
    for label, given in tried.items():
        for name, value in subject.value([(given, targets)]).items():
            if not math.isfinite(value):
                fix = "Divide by no count of zero, and use log_softmax or cross_entropy instead of exp and log"
                raise Fault(f"{label}: {name} is {value}", fix)
    return f"{', '.join(tried)} give finite numbers"


def check_direction(subject: MetricSubject) -> str:
    """Better predictions give a better value, in the direction that the spec declares.

    `higher_is_better` decides which run is the best one. All right, 60 %, 20 % and none right are compared, each
    predicted with confidence. A metric of several values is not tried: one flag cannot speak for all.
    """
    streams = [subject.make_stream(right=right, margin=9.0) for right in (1.0, 0.6, 0.2, 0.0)]
    values = [subject.value([stream]) for stream in streams]
    if len(values[0]) > 1:
        raise Skip(f"it gives {len(values[0])} values")
    scores = [next(iter(value.values())) for value in values]
    higher = subject.entry.spec.higher_is_better
    shown = ", ".join(f"{score:.4g}" for score in scores)
    ordered = all((better >= worse) if higher else (better <= worse) for better, worse in pairwise(scores))
    if abs(scores[0] - scores[-1]) <= TOLERANCE * max(1.0, abs(scores[0])):
        fix = "Compare predictions with targets; what ignores them can choose no run"
        raise Fault(f"all, 60 %, 20 % and none right give {shown}: no difference", fix)
    if not ordered:
        seen = f"declared {'higher' if higher else 'lower'} is better; all, 60 %, 20 % and none right give {shown}"
        raise Fault(seen, f"Declare higher_is_better = {str(not higher).lower()}, or mend the formula")
    subject.ordered = True
    return f"all, 60 %, 20 % and none right give {shown}"


def check_bounds(subject: MetricSubject) -> str:
    """Its values keep to the bounds that the spec declares.

    A share beyond 1 or a distance below 0 is a wrong formula. Tried on right, wrong, one-class and mixed samples, and
    on large logits. Between two finite bounds, perfect predictions lie in the better half: a share that is declared as
    percent never gets there.
    """
    bounds = subject.entry.spec.bounds
    if bounds is None:
        raise Skip("the spec declares no bounds")
    low, high = bounds
    for classes in subject.classes:
        for right in (1.0, 0.5, 0.0):
            logits, targets = make_stream(classes, right)
            for stream in ((logits, targets), (100 * logits, targets), (logits, torch.zeros_like(targets))):
                for name, value in subject.value([stream], classes).items():
                    if not low - TOLERANCE <= value <= high + TOLERANCE:
                        seen = f"{name} {value:.6g} is outside {low:g} to {high:g}"
                        raise Fault(seen, "Mend the formula, or the bounds in the spec")
    values = list(subject.value([make_perfect(subject.classes[0])]).values())
    if math.isfinite(low) and math.isfinite(high) and subject.ordered:
        better = values[0] - low if subject.entry.spec.higher_is_better else high - values[0]
        if better < (high - low) / 2:
            seen = f"perfect predictions give {values[0]:.4g}, far from the better end of {low:g} to {high:g}"
            raise Fault(seen, "Declare the bounds of what is given: (0, 1) for a share")
    return f"all values are from {low:g} to {high:g}"
