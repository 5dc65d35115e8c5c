"""Counts and scores of classes against scikit-learn, on cases with classes that never occur or are never predicted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from zoo.training.confusion import ClassScore, count_confusion, list_confusions, score_classes, score_predictions


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """Return classes, targets and predictions; each side uses some of the classes only."""
    classes = draw(st.integers(2, 12))
    indices = st.integers(0, classes - 1)
    samples = draw(st.integers(1, 60))
    sides = []
    for _ in range(2):
        used = draw(st.lists(indices, min_size=1, max_size=classes, unique=True))
        sides.append(draw(st.lists(st.sampled_from(used), min_size=samples, max_size=samples)))
    return classes, *sides


@pytest.mark.promise("P11")
@pytest.mark.slow
@settings(max_examples=300)
@given(cases())
def test_counts_and_scores_are_those_of_scikit_learn(case: tuple[int, list[int], list[int]]) -> None:
    classes, targets, predictions = case
    labels = list(range(classes))
    matrix = count_confusion(torch.tensor(targets), torch.tensor(predictions), classes)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == confusion_matrix(targets, predictions, labels=labels).tolist()
    # What is 0 / 0 is NaN there and None here.
    expected = precision_recall_fscore_support(targets, predictions, labels=labels, zero_division=float("nan"))
    names = [f"class {label}" for label in labels]
    found = score_classes(matrix, names)
    assert score_predictions(torch.tensor(targets), torch.tensor(predictions), names) == found
    for score, precision, recall, f1, support in zip(found, *expected, strict=True):
        assert score.support == support
        for ours, theirs in ((score.precision, precision), (score.recall, recall), (score.f1, f1)):
            assert theirs != theirs if ours is None else ours == pytest.approx(theirs, abs=1e-12)


def test_cases_of_nothing_divided_by_nothing() -> None:
    # Of four classes: one told right and wrong, one never predicted, one never there, one neither.
    matrix = count_confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 2]), 4)
    assert score_classes(matrix, "abcd") == [
        ClassScore(name="a", precision=1.0, recall=0.5, f1=2 / 3, support=2),
        ClassScore(name="b", precision=None, recall=0.0, f1=0.0, support=1),
        ClassScore(name="c", precision=0.0, recall=None, f1=0.0, support=0),
        ClassScore(name="d", precision=None, recall=None, f1=None, support=0),
    ]


@pytest.mark.promise("P11")
def test_small_indices_do_not_overflow() -> None:
    index = torch.full((300,), 255, dtype=torch.uint8)
    assert count_confusion(index, index, 256)[255, 255] == 300


def test_a_column_is_a_prediction_and_a_row_a_target() -> None:
    matrix = count_confusion(torch.tensor([2, 2]), torch.tensor([0, 0]), 3)
    assert matrix.tolist() == [[0, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert list_confusions(matrix, ["shoe", "bag", "boot"]) == [("boot", "shoe", 2)]


def test_the_most_frequent_mistakes_come_first_and_hits_are_none() -> None:
    matrix = torch.tensor([[90, 3, 0], [7, 80, 3], [0, 1, 70]])
    before = matrix.clone()
    every = [("b", "a", 7), ("a", "b", 3), ("b", "c", 3), ("c", "b", 1)]
    assert list_confusions(matrix, "abc") == every
    assert list_confusions(matrix, "abc", limit=2) == every[:2]
    assert list_confusions(torch.eye(3, dtype=torch.int64), "abc") == []
    assert torch.equal(matrix, before)
