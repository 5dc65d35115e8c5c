"""Batches of mixed images: pixels and targets follow from seed, epoch and sample alone, whatever the batches are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.augment import parse
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.registry.preprocess import Preprocess

CPU = torch.device("cpu")
SAMPLES, CLASSES = 37, 5
IMAGES = torch.randint(256, (SAMPLES, 3, 8, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
TARGETS = torch.arange(SAMPLES) ** 2 % CLASSES


class Listed(Dataset[Any]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], int(TARGETS[index])


def read(split: Any, operations: str, size: int, epoch: int, **more: Any) -> tuple[Tensor, Tensor, list[int]]:
    arranged = BatchSettings(batch_size=size, device=CPU, shuffle_seed=7, augment=parse(operations), **more)
    made = make_batches(split, Preprocess(), arranged, name="d", num_classes=CLASSES)
    batches = [(inputs.clone(), targets.clone()) for inputs, targets in made.epoch(epoch)]
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return inputs, targets, [len(part) for _, part in batches]


@pytest.mark.parametrize("operations", ["mixup:alpha=0.4", "flip,crop:padding=1,cutmix", "erase:p=0.5,mixup"])
@settings(max_examples=25)
@given(size=st.integers(1, SAMPLES + 3), epoch=st.integers(0, 3), balanced=st.booleans())
def test_any_partition_of_an_epoch_has_the_same_pixels_and_targets(
    operations: str, size: int, epoch: int, balanced: bool
) -> None:
    more = {"classes": TARGETS} if balanced else {}
    inputs, targets, _ = read((IMAGES, TARGETS), operations, SAMPLES, epoch, **more)
    assert targets.shape == (SAMPLES, CLASSES) and torch.allclose(targets.sum(1), torch.ones(SAMPLES))
    assert bool(((targets > 0).sum(1) == 2).any())
    for split in ((IMAGES, TARGETS), Listed()):
        other_inputs, other_targets, sizes = read(split, operations, size, epoch, **more)
        assert max(sizes) <= size
        assert torch.equal(inputs, other_inputs) and torch.equal(targets, other_targets)


def test_workers_change_nothing() -> None:
    alone = read(Listed(), "flip,mixup", 10, 1, classes=TARGETS)
    helped = read(Listed(), "flip,mixup", 10, 1, classes=TARGETS, workers=2)
    assert torch.equal(alone[0], helped[0]) and torch.equal(alone[1], helped[1])


def test_partners_come_from_the_whole_split_and_are_augmented_as_they_are_themselves() -> None:
    operations = parse("flip,mixup:alpha=1")
    mixing = operations.mixing
    assert mixing is not None
    inputs, targets, _ = read((IMAGES, TARGETS), "flip,mixup:alpha=1", 4, 2)
    from zoo.data.order import epoch_order

    order = epoch_order(SAMPLES, 7, 2)
    flipped = operations(IMAGES, range(SAMPLES), 2, 7)
    partners = mixing.choose_partners(order, SAMPLES, 2, 7)
    assert len(set(partners.tolist())) > SAMPLES // 2
    mixed = mixing((flipped[order], TARGETS[order]), (flipped[partners], TARGETS[partners]), order, 2, 7)
    assert torch.equal(inputs, mixed.images / 255) and torch.equal(targets, mixed.to_probabilities(CLASSES))
