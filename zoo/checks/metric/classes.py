"""Checks of a metric with few and with many classes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import torch

from zoo.checks.base import Fault, Skip
from zoo.checks.metric.subject import TOLERANCE, Batch, MetricSubject, make_stream
from zoo.errors import PluginError, describe

MANY = {307: (100, 128, 256), 1201: (1000,)}
"""Numbers of classes beyond bytes and tables of a hundred, and beyond a thousand, each with the distances of two
classes that such a table, a remainder or a byte mixes up. They are prime, so that multiples of any step go through all
of them."""

SLOW = 0.5
"""Processor seconds of one value from which on more classes are not tried: some metrics compare each two of them."""


def check_classes(subject: MetricSubject) -> str:
    """The best value is the same for any number of classes, and no number of classes is too large.

    Where perfect predictions of ten classes give exactly 0, 1 or 100, they do so for three, two and 307: a mean over
    classes that divides by a fixed number does not. And where giving ten classes other numbers changes no value, it
    changes none for 307 and 1201: a table of a hundred or a remainder does. What knows classes apart, has several
    values or another best value is not tried.
    """
    best, first = dict[int, float](), subject.classes[0]
    for classes in subject.classes:
        values = subject.value([make_perfect(classes)], classes)
        if len(values) > 1:
            raise Skip(f"it gives {len(values)} values")
        best[classes] = next(iter(values.values()))
    usual = any(abs(best[first] - value) <= TOLERANCE for value in (0, 1, 100))
    if usual:
        _require_same_best(best)
    many = [classes for classes in MANY if _is_taken(subject, classes)]
    if usual and many:
        best[many[0]] = next(iter(subject.value([make_perfect(many[0])], many[0]).values()))
        _require_same_best(best)
    if first > 2 and _can_be_numbered_anew(subject, first, (3, 7)):
        for classes in many:
            if not _can_be_numbered_anew(subject, classes, MANY[classes]):
                seen = f"for {classes} classes the value depends on which numbers they have, for {first} it does not"
                raise Fault(seen, "Use num_classes, which the factory is given: no fixed table, remainder or byte")
    if not usual:
        raise Skip(f"perfect predictions give {best[first]:.4g}, which may depend on the number of classes")
    return f"perfect predictions give {_show(best)} classes"


def _require_same_best(best: Mapping[int, float]) -> None:
    if max(best.values()) - min(best.values()) > TOLERANCE:
        fix = "Use num_classes, which the factory is given, instead of a fixed number"
        raise Fault(f"perfect predictions give {_show(best)} classes", fix)


def _show(best: Mapping[int, float]) -> str:
    return ", ".join(f"{value:.4g} for {classes}" for classes, value in best.items())


def _is_taken(subject: MetricSubject, classes: int) -> bool:
    """Tell whether the metric takes so many classes, in a time that allows to try them."""
    if subject.slow:
        return False
    started = time.process_time()
    try:
        subject.value([_make_stream(classes)], classes)
    except PluginError as error:
        if isinstance(error.__cause__, ValueError):
            return False
        raise Fault(f"for {classes} classes: {error.why}", "Mend what raises it", subject.definition) from error
    except Exception as error:
        fix = "Use num_classes, which the factory is given, instead of a fixed number"
        raise Fault(f"for {classes} classes: {describe(error)}", fix) from error
    subject.slow = time.process_time() - started > SLOW
    return True


def _can_be_numbered_anew(subject: MetricSubject, classes: int, steps: Iterable[int]) -> bool:
    """Tell whether the value stays when class i becomes class step * i, modulo their number, for each of the steps."""
    logits, targets = _make_stream(classes)
    usual = subject.value([(logits, targets)], classes)
    for step in steps:
        numbers = torch.arange(classes) * step % classes
        renumbered = torch.empty_like(logits)
        renumbered[:, numbers] = logits
        found = subject.value([(renumbered, numbers[targets])], classes)
        differs = (abs(value - found[name]) > TOLERANCE * max(1.0, abs(value)) for name, value in usual.items())
        if usual.keys() != found.keys() or any(differs):
            return False
    return True


def _make_stream(classes: int) -> Batch:
    """Return two samples of each class in random order, 60 % of them right and the others taken for the next class."""
    return make_stream(classes, samples=max(2 * classes, 20))


def make_perfect(classes: int) -> Batch:
    """Return a stream whose predictions are all right, each with a probability of 1 in float32."""
    _, targets = make_stream(classes, samples=max(203, 2 * classes))
    return 50 * torch.nn.functional.one_hot(targets, classes).float(), targets
