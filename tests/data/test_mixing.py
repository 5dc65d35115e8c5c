"""Mixup and CutMix: partners, shares and boxes by the hash, and targets that say what is in the image."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from zoo.data.augment import CutMix, Mixup, draw, parse
from zoo.data.augment.mixing import SHARES, list_thresholds
from zoo.errors import DataError

ALPHAS = [0.05, 0.2, 1.0, 1.5, 8.0, 300.0]
DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.float16, torch.float32]


def make(samples=60, dtype=torch.uint8, shape=(2, 11, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (samples, *shape), generator=generator).to(dtype)
    return images, torch.randint(5, (samples,), generator=generator)


def mix(mixing, split, indices, epoch=1, seed=7):
    images, targets = split
    partners = mixing.choose_partners(indices, len(targets), epoch, seed)
    return mixing((images[indices], targets[indices]), (images[partners], targets[partners]), indices, epoch, seed)


def find_shares(mixing, indices, epoch=1, seed=7):
    """The parts of 4096 that each image keeps, one by one."""
    thresholds = list_thresholds(mixing.alpha).tolist()
    numbers = draw(seed, epoch, indices, mixing.name, 2)[:, 1].tolist()
    return [sum(limit <= number for limit in thresholds) for number in numbers]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_thresholds_are_those_of_the_beta_distribution(alpha):
    thresholds = list_thresholds(alpha)
    expected = stats.beta(alpha, alpha).cdf([(k + 0.5) / SHARES for k in range(SHARES)]) * 2**32
    assert thresholds.dtype == torch.int64 and thresholds.shape == (SHARES,)
    assert float((thresholds - torch.from_numpy(expected)).abs().max()) < 1
    assert bool((thresholds.diff() >= 0).all())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_weights_have_the_beta_distribution(alpha):
    indices = torch.arange(20_000)
    images = torch.zeros(20_000, 1, 1, 1)
    mixing, targets = Mixup(alpha=alpha), torch.zeros(20_000, dtype=torch.int64)
    weights = mixing((images, targets), (images, targets), indices).weights
    # Of a distribution that is cut into 4096 parts, the largest step has to be allowed for.
    step = stats.beta(alpha, alpha).cdf(0.5 / SHARES)
    assert stats.kstest(weights.double().numpy(), stats.beta(alpha, alpha).cdf).statistic < 0.012 + step
    assert torch.equal(weights * SHARES, (weights * SHARES).round())


def test_partners_are_any_of_the_split():
    indices = torch.arange(60_000)
    partners = Mixup().choose_partners(indices, 50, epoch=3, seed=4)
    counts = torch.bincount(partners, minlength=50).double()
    assert len(counts) == 50 and float(((counts - 1200) ** 2 / 1200).sum()) < 100
    far = Mixup().choose_partners(indices[:32], 60_000)
    assert int(far.max()) > 32 and len(far.unique()) > 25
    assert not torch.equal(far, CutMix().choose_partners(indices[:32], 60_000))
    assert not torch.equal(far, Mixup().choose_partners(indices[:32], 60_000, epoch=1))


@pytest.mark.parametrize("mixing", [Mixup(alpha=0.6), CutMix()], ids=str)
def test_a_batch_does_not_matter(mixing):
    split, indices = make(), torch.randperm(60, generator=torch.Generator().manual_seed(1))
    whole = mix(mixing, split, torch.arange(60))
    for part in indices.split(7):
        found = mix(mixing, split, part)
        for name in ("images", "targets", "other_targets", "weights"):
            assert torch.equal(getattr(found, name), getattr(whole, name)[part])


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixup_is_the_weighted_sum(dtype):
    mixing, split, indices = Mixup(alpha=0.6), make(dtype=dtype), torch.arange(60)
    found = mix(mixing, split, indices)
    partners = mixing.choose_partners(indices, 60, 1, 7).tolist()
    shares = find_shares(mixing, indices)
    assert found.images.dtype == dtype and found.weights.dtype == torch.float32
    for index, (partner, share) in enumerate(zip(partners, shares, strict=True)):
        one, other = (split[0][place].double() for place in (index, partner))
        exact = (one * share + other * (SHARES - share)) / SHARES
        expected = exact if dtype.is_floating_point else torch.floor(exact + 0.5)
        slack = {torch.float16: 0.3, torch.float32: 1e-4}.get(dtype, 0)
        assert float((found.images[index].double() - expected).abs().max()) <= slack
        assert float(found.weights[index]) == share / SHARES
        assert (int(found.targets[index]), int(found.other_targets[index])) == (
            int(split[1][index]),
            int(split[1][partner]),
        )
    assert len(set(shares)) > 40


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool])
def test_cutmix_weights_are_the_true_areas(dtype):
    indices, targets = torch.arange(400), torch.zeros(400, dtype=torch.int64)
    zeros, ones = (torch.full((400, 3, 11, 8), value).to(dtype) for value in (0, 1))
    mixing = CutMix()
    found = mixing((zeros, targets), (ones, targets + 1), indices, 1, 7)
    taken = found.images.double().mean(dim=(1, 2, 3))
    assert torch.equal(((1 - taken) * 88).round(), (found.weights.double() * 88).round())
    numbers = draw(7, 1, indices, "cutmix", 4)[:, 2:].tolist()
    cut = 0
    for index, (share, (row, column)) in enumerate(zip(find_shares(mixing, indices), numbers, strict=True)):
        expected = torch.zeros(11, 8)
        height, width = (math.isqrt((SHARES - share) * side * side // SHARES) for side in (11, 8))
        top, left = row * 11 // 2**32 - height // 2, column * 8 // 2**32 - width // 2
        expected[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = 1
        cut += height * width != int(expected.sum())
        assert torch.equal(found.images[index].float(), expected.expand(3, 11, 8))
    assert found.images.dtype == dtype and cut > 100 and len(found.weights.unique()) > 25


@pytest.mark.parametrize("mixing", [Mixup(), CutMix()], ids=str)
def test_probabilities_give_the_loss_of_both_targets(mixing):
    found = mix(mixing, make(), torch.arange(60))
    logits = torch.randn(60, 5, generator=torch.Generator().manual_seed(2))
    probabilities = found.to_probabilities(5)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(60))
    one, other = (cross_entropy(logits, targets, reduction="none") for targets in (found.targets, found.other_targets))
    expected = found.weights * one + (1 - found.weights) * other
    assert torch.allclose(cross_entropy(logits, probabilities, reduction="none"), expected, atol=1e-6)


def test_augmented_images_are_mixed_by_hand():
    (images, targets), indices = make(), torch.arange(20)
    augment = parse("flip,crop:padding=2,mixup:alpha=0.4")
    partners = augment.mixing.choose_partners(indices, 60)
    batches = [(augment(images[chosen], chosen), targets[chosen]) for chosen in (indices, partners)]
    found = augment.mixing(*batches, indices)
    assert torch.equal(batches[0][0], parse("flip,crop:padding=2")(images[:20], indices))
    assert not torch.equal(found.images, batches[0][0])


def test_partners_of_another_form_are_refused():
    images, targets = make()
    for others in (images[:1], images.float(), images[:, :1]):
        with pytest.raises(DataError, match=r"'mixup': expected partners \(60, 2, 11, 8\) of uint8, got"):
            Mixup()((images, targets), (others, targets), torch.arange(60))
    with pytest.raises(DataError, match="cannot be augmented by cutmix"):
        CutMix()((images[:, 0, 0], targets), (images[:, 0, 0], targets), torch.arange(60))
