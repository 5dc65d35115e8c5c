"""Confusion: which class was taken for which, as integer counts, and the scores of each class that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.limits import MAX_CONFUSED


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class is told from the others, each score from 0 to 1; None where it would be 0 / 0.

    With TP samples rightly given this class, FP wrongly given it and FN of it given another one, `precision` is
    TP / (TP + FP), `recall` TP / (TP + FN) and `f1` 2 TP / (2 TP + FP + FN). So a class that is never predicted has
    no precision, one without samples no recall, and one with neither no F1. `support` is TP + FN, its samples.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def count_confusion(targets: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Count class indices `(N,)` of both kinds into a matrix int64 `(C, C)`: rows are targets, columns predictions.

    Raises:
        UsageError: there are too many classes for a matrix.
    """
    if num_classes > MAX_CONFUSED:
        why = f"a confusion matrix is made of at most {MAX_CONFUSED}"
        raise UsageError(f"{num_classes} classes", why, "The per_class of zoo.evaluate needs none")
    pairs = targets.to(torch.int64) * num_classes + predictions
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def score_classes(matrix: Tensor, class_names: Sequence[str]) -> list[ClassScore]:
    """Return the scores of each class, in the order of the classes."""
    return _score(matrix.diagonal(), matrix.sum(0), matrix.sum(1), class_names)


def score_predictions(targets: Tensor, predictions: Tensor, class_names: Sequence[str]) -> list[ClassScore]:
    """Return the scores of each class from class indices `(N,)` of both kinds, however many classes there are."""
    classes = len(class_names)
    hits, predicted, support = (
        torch.bincount(indices, minlength=classes)
        for indices in (targets[targets == predictions], predictions, targets)
    )
    return _score(hits, predicted, support, class_names)


def _score(hits: Tensor, predicted: Tensor, support: Tensor, class_names: Sequence[str]) -> list[ClassScore]:
    rows = zip(class_names, hits.tolist(), predicted.tolist(), support.tolist(), strict=True)
    return [
        ClassScore(
            name=name,
            precision=_divide(hit, given),
            recall=_divide(hit, there),
            f1=_divide(2 * hit, given + there),
            support=there,
        )
        for name, hit, given, there in rows
    ]


def list_confusions(matrix: Tensor, class_names: Sequence[str], limit: int = 5) -> list[tuple[str, str, int]]:
    """Return the most frequent mistakes as (name of the target, name predicted, count); of equal counts the first."""
    wrong = matrix.clone()
    wrong.fill_diagonal_(0)
    counts, places = wrong.flatten().sort(descending=True, stable=True)
    size = len(class_names)
    found = zip(places[:limit].tolist(), counts[:limit].tolist(), strict=True)
    return [(class_names[place // size], class_names[place % size], count) for place, count in found if count]


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None
