"""Overlap: images of one split that are in another too are counted, whatever form the splits have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import zoo
from zoo.data.overlap import count_shared, find_overlaps, hash_rows

TARGETS = torch.arange(400) % 2


def draw(dtype: torch.dtype, shape: tuple[int, ...] = (1, 4, 5)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (800, *shape), generator=generator)
    return (
        (images / 255).to(dtype)
        if dtype.is_floating_point
        else (images % 2 if dtype == torch.bool else images).to(dtype)
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.int16, torch.float64])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3,), (8,), (3, 7, 3)])
def test_the_count_is_that_of_comparing_each_with_each(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    images = draw(dtype, shape)
    known, others = images[:400], torch.cat([images[390:400], images[400:], images[395:396]])
    expected = sum(bool((known == each).flatten(1).all(dim=1).any()) for each in others)
    assert count_shared(known, others) == expected >= 11
    assert count_shared(known, others[10:-1]) == expected - 11
    assert count_shared(known, known) == 400
    assert count_shared(known, others[:0]) == 0
    assert count_shared(known.transpose(0, -1).contiguous().transpose(0, -1), others) == expected  # not contiguous
    assert count_shared(known, others.to(torch.int32)) == 0


def test_hashes_differ_where_rows_do() -> None:
    rows = torch.zeros(64 * 8 + 1, 64, dtype=torch.uint8)  # one bit set in each row but the last
    for row in range(64 * 8):
        rows[row, row // 8] = 1 << row % 8
    assert len(hash_rows(rows).unique()) == len(rows)
    pairs = torch.zeros(7, 8, dtype=torch.int64)  # the top bit, in two words
    for row in range(7):
        pairs[row, row : row + 2] = -(2**63)
    assert len(hash_rows(pairs).unique()) == len(pairs)


def make(train: Any, test: Any, validation: Any = None) -> zoo.DataSplits:
    return zoo.DataSplits(train=train, test=test, validation=validation, class_names=("a", "b"))


@pytest.mark.parametrize("form", ["tensors", "datasets", "workers", "mixed"])
def test_a_run_tells_how_many_are_in_two_splits(form: str, caplog: pytest.LogCaptureFixture) -> None:
    images = draw(torch.uint8)
    parts = {
        "train": images[:400],
        "test": torch.cat([images[:12], images[400:588]]),
        "validation": torch.cat([images[600:799], images[588:589]]),
    }
    parts["validation"][0] = parts["test"][-1]
    splits: dict[str, Any] = {name: (part, TARGETS[: len(part)]) for name, part in parts.items()}
    for name in ("train", "test", "validation") if form in ("datasets", "workers") else ("test",) * (form == "mixed"):
        splits[name] = TensorDataset(*splits[name])
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="twice", factory=lambda *, root: make(**splits)), plugin="mine")
    zoo.run("baseline", "twice", epochs=2, registry=registry, workers=2 if form == "workers" else 0)
    told = [message for message in caplog.messages if "images are also" in message]
    assert sorted(told) == [
        "dataset 'twice': 1 of 200 test images are also validation images: few, as large collections have",
        "dataset 'twice': 12 of 200 test images are also training images: "
        "scores on them count what was learnt by heart",
    ]


def test_splits_that_share_nothing_are_not_mentioned() -> None:
    images = draw(torch.float32)
    assert find_overlaps(make((images[:400], TARGETS), (images[400:], TARGETS))) == []
