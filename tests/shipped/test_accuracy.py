from __future__ import annotations

import copy
import math
import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zoo_plugins.metrics.accuracy import Accuracy

CLASSES = 7


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(101, CLASSES, generator=generator)
    return logits, torch.randint(CLASSES, (101,), generator=generator)


def oracle(logits, targets):
    hits = [row.index(max(row)) == target for row, target in zip(logits.tolist(), targets.tolist(), strict=True)]
    return sum(hits) / len(hits)


def measure(logits, targets, sizes):
    metric = Accuracy(num_classes=CLASSES)
    for batch in zip(logits.split(sizes), targets.split(sizes), strict=True):
        metric.update(*batch)
    return metric


def test_is_exact_whatever_the_batches(samples):
    expected = oracle(*samples)
    assert 0 < expected < 1
    choose = random.Random(0)
    for _ in range(20):
        cuts = sorted(choose.choices(range(102), k=choose.randrange(8)))
        sizes = [end - start for start, end in zip([0, *cuts], [*cuts, 101], strict=True)]
        assert measure(*samples, sizes).compute() == expected


def test_is_exact_where_float32_is_not():
    metric = Accuracy(num_classes=2)
    metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    metric.correct, metric.total = metric.correct + 2**24, metric.total + 2**24 + 1
    assert metric.compute() == (2**24 + 1) / (2**24 + 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_takes_other_float_types(dtype, samples):
    logits = samples[0].to(dtype)
    assert measure(logits, samples[1], 10).compute() == oracle(logits, samples[1])


def test_merge_adds_and_leaves_the_other_alone(samples):
    left, right = (measure(*(s[part] for s in samples), 9) for part in (slice(40), slice(40, 80)))
    before = right.compute()
    merged = copy.deepcopy(left)
    merged.merge(right)
    merged.update(samples[0][80:], samples[1][80:])
    assert merged.compute() == oracle(*samples)
    assert right.compute() == before
    merged.merge(Accuracy(num_classes=CLASSES))
    assert merged.compute() == oracle(*samples)
    empty = Accuracy(num_classes=CLASSES)
    empty.merge(right)
    assert empty.compute() == before


def test_reset_forgets(samples):
    metric = measure(*samples, 10)
    metric.reset()
    with pytest.raises(ValueError, match="at least one sample"):
        metric.compute()
    metric.update(samples[0][:5], samples[1][:5])
    assert metric.compute() == oracle(samples[0][:5], samples[1][:5])


def test_counts_across_inference_mode(samples):
    metric = Accuracy(num_classes=CLASSES)
    with torch.inference_mode():
        metric.update(*(s[:50] for s in samples))
    metric.update(*(s[50:] for s in samples))
    assert metric.compute() == oracle(*samples)


class NoReads(TorchDispatchMode):
    """Fail on the operation that copies a value to the host, which makes it wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_update_and_merge_read_no_value(samples):
    metric = Accuracy(num_classes=CLASSES)
    with NoReads():
        metric.update(*samples)
        metric.update(*samples)
        metric.merge(metric)
        with pytest.raises(AssertionError):
            metric.compute()
    assert metric.compute() == oracle(*samples)


def test_an_empty_batch_counts_nothing(samples):
    metric = Accuracy(num_classes=CLASSES)
    metric.update(*(s[:0] for s in samples))
    with pytest.raises(ValueError, match="got none"):
        metric.compute()


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((4, CLASSES + 1), (4,)), ((4, CLASSES), (3,)), ((4, CLASSES), (4, 1)), ((4,), (4,)), ((4, CLASSES, 2), (4,))],
)
def test_refuses_other_shapes(logits, targets):
    with pytest.raises(ValueError, match="expected logits"):
        Accuracy(num_classes=CLASSES).update(torch.zeros(logits), torch.zeros(targets, dtype=torch.int64))


def test_refuses_other_numbers_of_classes():
    with pytest.raises(ValueError, match="at least 1"):
        Accuracy(num_classes=0)
    with pytest.raises(ValueError, match="expected 7, got 3"):
        Accuracy(num_classes=CLASSES).merge(Accuracy(num_classes=3))


def test_perfect_and_hopeless():
    logits = torch.eye(CLASSES)
    assert measure(logits, torch.arange(CLASSES), 3).compute() == 1.0
    assert math.isclose(measure(logits, torch.arange(CLASSES).roll(1), 3).compute(), 0.0)
