"""What is told of inputs that look unlike those of the training: each of the four messages, and silence."""

from __future__ import annotations

import pytest
import torch

from zoo.models.drift import find_oddity, measure_inputs

TRAINED = torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0)) ** 2
STATISTICS = measure_inputs(TRAINED.split(64))
BATCH = TRAINED[:32]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (255 * BATCH, "they look unscaled: values of"),
        (-3 * BATCH, "they look unscaled: values of"),
        (BATCH / 255, "they look scaled twice, or empty: values of"),
        (torch.full_like(BATCH, 0.4), "they look scaled twice, or empty: values of 0.4 to 0.4"),
        (1 - BATCH, "they look inverted: dark where the training images are bright"),
        (BATCH.clamp(max=0.2), "they look unlike those of the training: mean"),
    ],
)
def test_each_oddity_has_its_own_words(inputs: torch.Tensor, told: str) -> None:
    assert str(find_oddity(inputs, STATISTICS)).startswith(told)


def test_inputs_of_the_training_are_no_oddity() -> None:
    assert find_oddity(BATCH, STATISTICS) is None
    assert find_oddity(TRAINED[100:101], STATISTICS) is None
