"""The hash behind augmentation: as the page writes it down, uniform, and independent in all that it depends on."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch
from conftest import ROOT

import zoo
from zoo.data.augment.draws import draw, make_keys, mix, to_below, to_coin, to_uniform
from zoo.errors import SettingError

SAMPLES = 2**16
INDICES = torch.arange(SAMPLES)
WORD = 2**32 - 1
PAGE = ROOT / "docs" / "reference" / "augmentation.md"


def spread(word):
    """The mix of the page in plain Python, written apart from the code."""
    word ^= word >> 16
    word = word * 0x21F0AAAD % 2**32
    word ^= word >> 15
    word = word * 0xD35A2D97 % 2**32
    return word ^ word >> 15


def add(state, word):
    return spread(((state ^ word) + 0x9E3779B9) % 2**32)


def draw_plainly(seed, epoch, index, operation, count):
    keys = [0, 1]
    for word in (seed % 2**32, seed // 2**32, epoch % 2**32, epoch // 2**32, *operation.encode("utf-8")):
        keys = [add(key, word) for key in keys]
    state = add(keys[0], index % 2**32)
    state = add(state, keys[1] ^ index // 2**32)
    return [add(state, number) for number in range(count)]


CASES = [
    (42, 0, 0, "flip", 1),
    (42, 0, 1, "flip", 1),
    (42, 1, 0, "flip", 1),
    (43, 0, 0, "flip", 1),
    (42, 0, 0, "crop", 2),
    (42, 0, 0, "crop#2", 2),
    (0, 0, 0, "", 1),
    (42, 7, 59_999, "erase", 4),
    (2**63 - 1, 2**40, 2**45 + 3, "größer", 3),
    (2**64 - 1, 2**64 - 1, 2**63 - 1, "RandomRotation", 1),
]


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_plain_python(case):
    seed, epoch, index, operation, count = case
    found = draw(seed, epoch, torch.tensor([5, index]), operation, count)
    assert found.dtype == torch.int64
    assert found.tolist() == [draw_plainly(seed, epoch, each, operation, count) for each in (5, index)]


def test_the_page_has_the_numbers():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| `(.*)` \| ([\d, ]+) \|$", PAGE.read_text("utf-8"), re.M)
    assert len(rows) >= 6
    for seed, epoch, index, operation, numbers in rows:
        expected = [int(number) for number in numbers.split(",")]
        found = zoo.augment.draw(int(seed), int(epoch), torch.tensor([int(index)]), operation, len(expected))
        assert found.tolist() == [expected]


def test_no_two_words_become_the_same():
    words = torch.arange(2**20) * 4093 & WORD
    assert len(mix(words).unique()) == len(words)
    assert int(mix(words).max()) <= WORD and int(mix(words).min()) >= 0


def chi_squared(counts):
    """Return how many standard deviations the statistic of equally probable cells is from its mean."""
    expected = counts.sum() / counts.numel()
    degrees = counts.numel() - 1
    return abs(float(((counts - expected) ** 2 / expected).sum()) - degrees) / (2 * degrees) ** 0.5


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
@pytest.mark.parametrize("seed", [0, 42])
def test_each_byte_is_uniform(seed, shift):
    numbers = draw(seed, 3, INDICES, "flip")[:, 0]
    assert chi_squared(torch.bincount(numbers >> shift & 255, minlength=256).double()) < 4


def streams():
    """Numbers of the same samples that must know nothing of each other, by what differs."""
    base = draw(42, 3, INDICES, "flip", 2)
    return {
        "the next sample": (base[:-1, 0], base[1:, 0]),
        "a sample of another row": (base[:-28, 0], base[28:, 0]),
        "the next number": (base[:, 0], base[:, 1]),
        "the next epoch": (base[:, 0], draw(42, 4, INDICES, "flip")[:, 0]),
        "the next seed": (base[:, 0], draw(43, 3, INDICES, "flip")[:, 0]),
        "seed and epoch exchanged": (base[:, 0], draw(3, 42, INDICES, "flip")[:, 0]),
        "another operation": (base[:, 0], draw(42, 3, INDICES, "crop")[:, 0]),
        "its second time": (base[:, 0], draw(42, 3, INDICES, "flip#2")[:, 0]),
        "a sample 2^32 later": (base[:, 0], draw(42, 3, INDICES + 2**32, "flip")[:, 0]),
    }


@pytest.mark.parametrize("what", streams())
@pytest.mark.parametrize("shift", [0, 28])
def test_numbers_are_independent(what, shift):
    one, other = (numbers >> shift & 15 for numbers in streams()[what])
    assert chi_squared(torch.bincount(one * 16 + other, minlength=256).double()) < 4


def test_epochs_are_no_permutations_of_each_other():
    sets = [set(draw(42, epoch, INDICES, "flip")[:, 0].tolist()) for epoch in range(8)]
    # Of two sets of 65,536 numbers of 32 bits, one number in common is expected.
    assert all(len(one & other) < 10 for one, other in pairwise(sets))


def test_every_bit_of_an_index_changes_half_of_the_bits():
    numbers = draw(42, 0, INDICES, "flip")[:, 0]
    for bit in range(0, 48, 3):
        changed = numbers ^ draw(42, 0, INDICES ^ (1 << bit), "flip")[:, 0]
        shares = torch.stack([(changed >> place & 1).double().mean() for place in range(32)])
        assert float((shares - 0.5).abs().max()) < 0.02, bit


def test_first_numbers_do_not_depend_on_how_many_are_asked_for():
    assert torch.equal(draw(1, 2, INDICES, "crop", 5)[:, :2], draw(1, 2, INDICES, "crop", 2))
    assert draw(1, 2, INDICES[:0], "crop", 2).shape == (0, 2)


def test_conversions_are_exact():
    numbers = torch.tensor([0, 255, 256, 2**31, WORD])
    assert to_uniform(numbers).dtype == torch.float32
    assert to_uniform(numbers).tolist() == [0, 0, 2**-24, 0.5, 1 - 2**-24]
    for limit in (1, 9, 60_000, 2**31):
        assert to_below(numbers, limit).tolist() == [number * limit // 2**32 for number in numbers.tolist()]
    assert to_below(numbers, torch.tensor([3, 3, 3, 3, 3])).tolist() == [0, 0, 0, 1, 2]
    assert to_coin(numbers, 0.0).tolist() == [False] * 5 and to_coin(numbers, 1.0).tolist() == [True] * 5
    assert to_coin(numbers, 0.5).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(("seed", "epoch", "name"), [(-1, 0, "seed"), (2**64, 0, "seed"), (0, -1, "epoch")])
def test_seeds_and_epochs_out_of_range_are_refused(seed, epoch, name):
    with pytest.raises(SettingError, match=f"{name}: must be at least 0"):
        make_keys(seed, epoch, "flip")
