"""Draws: random numbers that are a function of seed, epoch, sample and operation, by a hash in integer arithmetic.

Nothing is kept between two draws, so pixels depend neither on the size or order of the batches nor on workers, the
device or any generator, and a training that goes on later needs no state. Every product stays within int64, so that no
device has to wrap around. docs/reference/augmentation.md writes the hash down, with numbers to test another
implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from zoo.errors import SettingError

Word = TypeVar("Word", int, Tensor)

WORD = 2**32 - 1
"""The largest word: the hash works on words of 32 bits."""
STEP = 0x9E3779B9
"""Added to each word, so that words of zero change the state too: 2^32 divided by the golden ratio."""
FACTORS = (0x21F0AAAD, 0xD35A2D97 - 2**32)
"""Two odd factors under which the bits of a word spread best. The second is meant modulo 2^32: less than 2^31 in size,
its product with a word fits int64."""


def mix(word: Word) -> Word:
    """Return a word whose every bit depends on every bit of the given one; no two words become the same."""
    word = word ^ (word >> 16)
    word = (word * FACTORS[0]) & WORD
    word = word ^ (word >> 15)
    word = (word * FACTORS[1]) & WORD
    return word ^ (word >> 15)


def fold(state: Word, word: Word | int) -> Word:
    """Return the state after one more word."""
    return mix(((state ^ word) + STEP) & WORD)


@lru_cache(maxsize=256)
def make_keys(seed: int, epoch: int, operation: str) -> tuple[int, int]:
    """Return two words for an operation in an epoch.

    They are the states that 0 and 1 become by the words of the seed, of the epoch (each the low one before the high
    one) and by each byte of the operation's name in UTF-8.

    Raises:
        SettingError: seed or epoch is below 0 or has more than 64 bits.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise SettingError(name, "must be at least 0 and below 2^64", value)
    first, second = 0, 1
    for word in (seed & WORD, seed >> 32, epoch & WORD, epoch >> 32, *operation.encode()):
        first, second = fold(first, word), fold(second, word)
    return first, second


def draw(seed: int, epoch: int, indices: Tensor, operation: str, count: int = 1) -> Tensor:
    """Return `count` numbers for each sample, int64 `(N, count)` from 0 to 2^32 - 1, on the device of the indices.

    Args:
        seed: The seed of the training, at least 0.
        epoch: The epoch, counted from 0.
        indices: The positions of the samples in their split, int64 `(N,)`.
        operation: What the numbers are for: each name has numbers of its own.
        count: Numbers for each sample. The first ones do not depend on how many are asked for.

    Raises:
        SettingError: seed or epoch is below 0 or has more than 64 bits.
    """
    first, second = make_keys(seed, epoch, operation)
    state = fold(indices & WORD, first)
    state = fold(state, ((indices >> 32) & WORD) ^ second)
    return fold(state.unsqueeze(1), torch.arange(count, device=indices.device))


@lru_cache(maxsize=64)
def place(make: Callable[..., Tensor], device: torch.device, *params: Any) -> Tensor:
    """Return a table that `make` makes of params, on a device: a copy for each batch would wait for an accelerator."""
    return make(*params).to(device)


def to_uniform(numbers: Tensor) -> Tensor:
    """Return drawn numbers as float32 from 0 to below 1: the upper 24 bits divided by 2^24, which is exact."""
    return (numbers >> 8).to(torch.float32) / 2**24


def to_below(numbers: Tensor, limit: int | Tensor) -> Tensor:
    """Return drawn numbers as whole numbers from 0 to below `limit`, which is at most 2^31: the upper 32 bits of the
    product."""
    return (numbers * limit) >> 32


def to_coin(numbers: Tensor, p: float) -> Tensor:
    """Return for each drawn number whether something of probability `p` happens: never for 0, always for 1."""
    return numbers < round(p * 2**32)
