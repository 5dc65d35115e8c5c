"""Precision, recall and F1 of many classes, each as three means that are easily taken for each other.

With TP samples rightly predicted as a class, FP wrongly predicted as it and FN of it predicted as another one:

- precision is TP / (TP + FP): how many of those predicted as the class are of it;
- recall is TP / (TP + FN): how many of those of the class are predicted as it;
- F1 is 2 TP / (2 TP + FP + FN), the harmonic mean of both.

0 / 0 counts as 0, as scikit-learn has it by default: the precision of a class that is never predicted, the recall of
one without samples. Over the classes there are three means:

- `macro`: each class counts the same. A class without samples that is never predicted is left out.
- `micro`: TP, FP and FN are added up over the classes first. As a sample has one target and one prediction here, all
  three scores are then the accuracy.
- `weighted`: each class counts by its samples. Weighted recall is the accuracy as well.
"""

from __future__ import annotations

from collections.abc import Callable
from math import fsum

from zoo_plugins.metrics.counts import ClassCounts, CountMetric, divide

Score = Callable[[int, int, int], float]
"""From the hits, the predicted and the support of a class, or of all of them, to a number from 0 to 1."""
Average = Callable[[Score, ClassCounts], float]


class ClassAverage(CountMetric):
    """The mean of a score over the classes."""

    def __init__(self, class_score: Score, average: Average, /, *, num_classes: int) -> None:
        super().__init__(num_classes=num_classes)
        self.class_score, self.average = class_score, average

    def score(self, counts: ClassCounts) -> float:
        """Return the mean, from 0 to 1."""
        return self.average(self.class_score, counts)


def _precision(hits: int, predicted: int, support: int) -> float:
    return divide(hits, predicted)


def _recall(hits: int, predicted: int, support: int) -> float:
    return divide(hits, support)


def _f1(hits: int, predicted: int, support: int) -> float:
    return divide(2 * hits, predicted + support)


def _macro(score: Score, counts: ClassCounts) -> float:
    rows = zip(counts.hits, counts.predicted, counts.support, strict=True)
    scores = [score(*row) for row in rows if any(row)]
    return fsum(scores) / len(scores)


def _micro(score: Score, counts: ClassCounts) -> float:
    return score(counts.right, sum(counts.predicted), counts.samples)


def _weighted(score: Score, counts: ClassCounts) -> float:
    rows = zip(counts.hits, counts.predicted, counts.support, strict=True)
    return fsum(row[-1] * score(*row) for row in rows) / counts.samples


def precision_macro(*, num_classes: int) -> ClassAverage:
    """Build the precision: its mean over the classes."""
    return ClassAverage(_precision, _macro, num_classes=num_classes)


def precision_micro(*, num_classes: int) -> ClassAverage:
    """Build the precision: its value over all samples."""
    return ClassAverage(_precision, _micro, num_classes=num_classes)


def precision_weighted(*, num_classes: int) -> ClassAverage:
    """Build the precision: its mean over the classes weighted by their samples."""
    return ClassAverage(_precision, _weighted, num_classes=num_classes)


def recall_macro(*, num_classes: int) -> ClassAverage:
    """Build the recall: its mean over the classes."""
    return ClassAverage(_recall, _macro, num_classes=num_classes)


def recall_micro(*, num_classes: int) -> ClassAverage:
    """Build the recall: its value over all samples."""
    return ClassAverage(_recall, _micro, num_classes=num_classes)


def recall_weighted(*, num_classes: int) -> ClassAverage:
    """Build the recall: its mean over the classes weighted by their samples."""
    return ClassAverage(_recall, _weighted, num_classes=num_classes)


def f1_macro(*, num_classes: int) -> ClassAverage:
    """Build the F1: its mean over the classes."""
    return ClassAverage(_f1, _macro, num_classes=num_classes)


def f1_micro(*, num_classes: int) -> ClassAverage:
    """Build the F1: its value over all samples."""
    return ClassAverage(_f1, _micro, num_classes=num_classes)


def f1_weighted(*, num_classes: int) -> ClassAverage:
    """Build the F1: its mean over the classes weighted by their samples."""
    return ClassAverage(_f1, _weighted, num_classes=num_classes)
