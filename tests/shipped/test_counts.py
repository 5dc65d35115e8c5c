"""The metrics that follow from integer counts, against scikit-learn, whatever the batches and their order."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.cli.main import main
from zoo.data.loading import build_dataset
from zoo.registry.factories import build_metric
from zoo.training.metrics import compute_metrics, reset_metrics, share_counts, update_metrics

REGISTRY = zoo.Registry.discover()
Oracle = Callable[[np.ndarray, np.ndarray], float]

# By name: what scikit-learn gives for targets and predictions.
ORACLES: dict[str, Oracle] = {
    "accuracy": sklearn.accuracy_score,
    "balanced-accuracy": sklearn.balanced_accuracy_score,
    "cohen-kappa": partial(sklearn.cohen_kappa_score, replace_undefined_by=0.0),
    "matthews": sklearn.matthews_corrcoef,
    **{
        f"{score}-{average}": partial(getattr(sklearn, f"{score}_score"), average=average)
        for score in ("precision", "recall", "f1")
        for average in ("macro", "micro", "weighted")
    },
}
COUNTED = [name for name in ORACLES if name != "accuracy"]


def build(name: str, num_classes: int, **params: Any) -> Any:
    return build_metric(REGISTRY.get("metric", name), num_classes=num_classes, params=params)


def build_all(num_classes: int) -> dict[str, Any]:
    return {name: build(name, num_classes) for name in ORACLES}


def ask(oracle: Oracle, targets: np.ndarray, predicted: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that never occur, and 0 / 0
        return float(oracle(targets, predicted))


@st.composite
def streams(draw: st.DrawFn, least: int = 2) -> tuple[torch.Tensor, torch.Tensor, list[int], list[int]]:
    """Draw logits with many ties, targets, an order of the samples and where it is cut into batches."""
    classes, samples = draw(st.integers(least, 9)), draw(st.integers(1, 40))
    few = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    values = draw(st.sampled_from([few, st.floats(width=32, allow_nan=False, allow_infinity=False)]))
    there = draw(st.integers(1, classes))  # classes above have no samples
    logits = draw(st.lists(st.lists(values, min_size=classes, max_size=classes), min_size=samples, max_size=samples))
    targets = draw(st.lists(st.integers(0, there - 1), min_size=samples, max_size=samples))
    order = draw(st.permutations(range(samples)))
    cuts = sorted(draw(st.lists(st.integers(0, samples), max_size=5)))
    return torch.tensor(logits), torch.tensor(targets), order, cuts


def cut(logits: torch.Tensor, targets: torch.Tensor, order: list[int], cuts: list[int]) -> list[tuple[Any, Any]]:
    edges = [0, *cuts, len(order)]
    chosen = [order[start:end] for start, end in pairwise(edges)]
    return [(logits[part], targets[part]) for part in chosen]


ONE_CLASS = (torch.eye(3)[[1, 1, 1]], torch.tensor([1, 1, 1]), [0, 1, 2], [1])
NEVER_RIGHT = (torch.eye(3), torch.tensor([1, 2, 0]), [2, 1, 0], [])


@given(stream=streams(), shared=st.booleans())
@example(stream=ONE_CLASS, shared=True)
@example(stream=NEVER_RIGHT, shared=False)
def test_they_are_what_scikit_learn_says(stream, shared):
    logits, targets, order, cuts = stream
    metrics = build_all(logits.shape[1])
    if shared:
        share_counts(metrics)
    for _ in range(2):  # after a reset as well
        reset_metrics(metrics)
        for batch in cut(logits, targets, order, cuts):
            update_metrics(metrics, *batch)
    predicted = logits.numpy().argmax(axis=1)  # of equal ones the first
    expected = {name: ask(oracle, targets.numpy(), predicted) for name, oracle in ORACLES.items()}
    assert compute_metrics(metrics) == pytest.approx(expected, rel=0, abs=1e-12)


@given(stream=streams(least=3), k=st.integers(1, 9))
def test_top_k_is_what_scikit_learn_says(stream, k):
    logits, targets, order, cuts = stream
    classes = logits.shape[1]
    assume(k <= classes)
    metric, accuracy = build("top-k", classes, k=k), build("accuracy", classes)
    for batch in cut(logits, targets, order, cuts):
        metric.update(*batch)
        accuracy.update(*batch)
    # Of equal scores scikit-learn takes the last class for the highest, zoo the first: so the classes are turned round.
    scores, turned = logits.numpy()[:, ::-1], classes - 1 - targets.numpy()
    expected = ask(partial(sklearn.top_k_accuracy_score, k=k, labels=range(classes)), turned, scores)
    assert metric.compute() == pytest.approx(expected, rel=0, abs=1e-12)
    if k == 1:
        assert metric.compute() == accuracy.compute()


@given(stream=streams())
def test_parts_merged_are_the_whole(stream):
    logits, targets, order, cuts = stream
    whole = build_all(logits.shape[1]) | {"top-k": build("top-k", logits.shape[1], k=2)}
    update_metrics(whole, logits, targets)
    for shared in (False, True):
        parts = [copy.deepcopy(whole) for _ in range(len(cuts) + 1)]
        for metrics, batch in zip(parts, cut(logits, targets, order, cuts), strict=True):
            reset_metrics(metrics)
            if shared:
                share_counts(metrics)
            update_metrics(metrics, *batch)
        first, *others = parts
        for metrics in others:
            for name, metric in metrics.items():
                first[name].merge(metric)
        assert compute_metrics(first) == compute_metrics(whole)


def test_by_hand():
    # Of class 0 two of three are right, of class 1 one of one; class 2 has no samples, 3 is never there nor predicted.
    targets, predicted = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 2, 1])
    metrics = build_all(4)
    update_metrics(metrics, torch.eye(4)[predicted], targets)
    found = compute_metrics(metrics)
    assert found == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced-accuracy": (2 / 3 + 1) / 2,
            "precision-macro": (1 + 1 + 0) / 3,
            "precision-micro": 3 / 4,
            "precision-weighted": (3 * 1 + 1) / 4,
            "recall-macro": (2 / 3 + 1 + 0) / 3,
            "recall-micro": 3 / 4,
            "recall-weighted": 3 / 4,
            "f1-macro": (4 / 5 + 1 + 0) / 3,
            "f1-micro": 3 / 4,
            "f1-weighted": (3 * 4 / 5 + 1) / 4,
            "cohen-kappa": (3 / 4 - 7 / 16) / (9 / 16),
            "matthews": (12 - 7) / (10 * 6) ** 0.5,
        }
    )


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_exact_where_float32_is_not(name):
    metric = build(name, 2)
    metric.update(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
    before = metric.counter.counts
    metric.counter.counts = before + 2**40 * before
    metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    hits = 2**40 + 2
    assert metric.counter.read().hits == (0, hits)
    assert build(name, 2).counter.counts is None  # no two of them share unless they are asked to


def test_a_run_counts_once_for_all_of_them():
    metrics = build_all(5)
    share_counts(metrics)
    counters = {id(metrics[name].counter) for name in COUNTED}
    assert len(counters) == 1
    assert [metrics[name].shares for name in COUNTED] == [False, *[True] * (len(COUNTED) - 1)]
    assert not build("matthews", 3).share_counts(metrics["matthews"])  # another number of classes
    assert not build("matthews", 5).share_counts(metrics["accuracy"])


class NoReads(TorchDispatchMode):
    """Fail on the operation that copies a value to the host, which makes it wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # bincount() and nonzero() wait as well: the size of what they give depends on the values.
        waits = (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.bincount.default,
            torch.ops.aten.nonzero.default,
        )
        assert func not in waits
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [*COUNTED, "top-k"])
def test_update_and_merge_read_no_value(name):
    metric = build(name, 7)
    with NoReads():
        metric.update(torch.randn(50, 7), torch.randint(7, (50,)))
        metric.merge(metric)
        with pytest.raises(AssertionError):
            torch.ones(3, dtype=torch.int64).bincount()
    assert -1 <= metric.compute() <= 1


@pytest.mark.parametrize("name", [*COUNTED, "top-k"])
def test_no_samples_and_other_shapes(name):
    metric = build(name, 7)
    metric.update(torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least one sample"):
        metric.compute()
    for logits, targets in (((4, 8), (4,)), ((4, 7), (3,)), ((4, 7), (4, 1)), ((4,), (4,))):
        with pytest.raises(ValueError, match="expected logits"):
            metric.update(torch.zeros(logits), torch.zeros(targets, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected 7, got 9"):
        metric.merge(build(name, 9))


def test_merge_of_another_k_is_refused():
    with pytest.raises(ValueError, match="k: expected 2, got 3"):
        build("top-k", 5, k=2).merge(build("top-k", 5, k=3))
    with pytest.raises(ValueError, match="k: expected 2, got 1"):
        build("top-k", 5, k=2).merge(build("accuracy", 5))


@pytest.mark.parametrize("k", ["0", "11"])
def test_a_k_that_cannot_be_is_refused_in_words(k, tmp_path, capsys):
    code = main(["run", "--metric", "top-k", "--metric-param", f"top-k.k={k}", "--runs-dir", str(tmp_path)])
    assert code == 2
    assert f"k: expected 1 to 10, the number of classes, got {k}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_a_mean_must_be_named(name, capsys):
    for command in (["run", "--metric", name], ["show", name]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"Did you mean '{name}-macro', '{name}-micro'" in said and f"'{name}-weighted'" in said


def test_a_run_with_all_of_them(tmp_path):
    names = [*ORACLES, "top-k"]
    sizes = {"train_size": 640, "test_size": 300}
    result = zoo.run("baseline", "shapes", metrics=names, epochs=1, dataset_params=sizes, runs_dir=tmp_path)
    assert set(result.metrics) == {"loss", *names}
    images, targets = build_dataset(REGISTRY.get("dataset", "shapes"), root=tmp_path, params=sizes).test
    with torch.inference_mode():
        predicted = zoo.load_model(result.weights)(images / 255).argmax(1)
    expected = {name: ask(oracle, targets.numpy(), predicted.numpy()) for name, oracle in ORACLES.items()}
    assert {name: result.metrics[name] for name in ORACLES} == pytest.approx(expected, rel=0, abs=1e-12)
    assert result.metrics["accuracy"] < result.metrics["top-k"] < 1
    again = zoo.evaluate(result.weights, metrics=names)
    assert again.metrics == pytest.approx(result.metrics, rel=1e-6)


def test_the_page_says_what_each_metric_means():
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    own, _, theirs = page.partition("## TorchMetrics")
    for text, names in ((own, zoo.list_metrics()), (theirs, zoo.list_metrics("torchmetrics/*"))):
        listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
        assert sorted(listed) == sorted(name.rpartition("/")[2] for name in names)
