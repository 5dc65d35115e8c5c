"""Checks of two metrics of one entry: their counts added up, and counts that both read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.checks.base import Fault, Skip
from zoo.checks.metric.subject import MetricSubject, compute, require_same, update
from zoo.errors import describe


def check_merge(subject: MetricSubject) -> str:
    """Where it has merge(other), two halves merged are the whole, and stay two.

    That is how several processes add up their parts. 50 and 153 samples are merged, and both go on afterwards.
    """
    if not callable(getattr(subject.build(), "merge", None)):
        raise Skip("it has no merge()")
    logits, targets = subject.make_stream()
    halves = [(logits[:50], targets[:50]), (logits[50:], targets[50:])]
    whole, second, with_third = subject.value(halves), subject.value(halves[1:]), subject.value([*halves, halves[0]])
    with torch.inference_mode():
        metric, other, empty = (subject.build() for _ in range(3))
        for built in (metric, other, empty):
            built.reset()
        update(metric, halves[0])
        update(other, halves[1])
        metric.merge(other)  # type: ignore[attr-defined]
        fix = "Add the other's counts or sums to one's own"
        require_same(whole, compute(metric), "whole and merged of two halves", fix)
        require_same(second, compute(other), "merge() changes the other one", "Copy what is taken over")
        update(metric, halves[0])
        require_same(with_third, compute(metric), "going on after merge()", "Let update() add to what was merged")
        empty.merge(other)  # type: ignore[attr-defined]
        require_same(second, compute(empty), "merged into one without samples", "Add the other's counts or sums")
        update(empty, halves[0])
        label = "updating one changes the other that was merged into it"
        require_same(second, compute(other), label, "Copy what is taken over, or add out of place")
    return "two halves merged are the whole"


def check_sharing(subject: MetricSubject) -> str:
    """Where it has share_counts(other), two that share give what each gives alone, and strangers share nothing.

    A run with several metrics of the same counts counts once, as for precision and recall. It asks each metric with
    those before it, of any plugin. Then all are reset and given the same batches in turn, evaluation after evaluation.
    """
    if not callable(getattr(subject.build(), "share_counts", None)):
        raise Skip("it has no share_counts()")
    logits, targets = subject.make_stream()
    batches = [(logits[:50], targets[:50]), (logits[50:], targets[50:])]
    first: Any = subject.build()
    second: Any = subject.build()
    try:
        taken = second.share_counts(Stranger())
    except Exception as error:
        fix = "Return False for whatever is no metric of one's own"
        raise Fault(f"asked to share the counts of another metric: {describe(error)}", fix) from error
    if taken:
        raise Fault(
            "it shares the counts of a metric that has none", "Return True for metrics with the same counts only"
        )
    shared = second.share_counts(first)
    with torch.inference_mode():
        for given in (batches, batches[1:]):
            for metric in (first, second):
                metric.reset()
            for batch in given:
                for metric in (first, second):
                    update(metric, batch)
            expected = subject.value(given)
            require_same(expected, compute(first), "alone and sharing with another one", "Count each batch once")
            fix = "Read the counts of the other one in compute(), at that time"
            require_same(expected, compute(second), "alone and reading the counts of another one", fix)
    return "two that share give what each gives alone" if shared else "two of it share nothing"


class Stranger:
    """A metric of somebody else, that counts nothing."""

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take in no batch."""

    def compute(self) -> float:
        """Return 0."""
        return 0.0

    def reset(self) -> None:
        """Forget nothing."""
