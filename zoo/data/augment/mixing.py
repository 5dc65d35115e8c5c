"""Mixing: each image is mixed with one of another sample of the split, and so are their targets.

The partner, the share and the place come from the hash, so they do not depend on what else is in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from zoo.data.augment.draws import draw, place, to_below
from zoo.data.augment.operations import Parametrized, check_images, param
from zoo.errors import DataError, quote
from zoo.registry.preprocess import name_dtype

SHARES = 4096
"""Parts into which an image and its partner are divided: a share is a whole number of them, which float32 holds
exactly, and one of them is far less than a grey level."""
Labelled = tuple[Tensor, Tensor]
"""Images `(N, C, H, W)` and targets `(N,)`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed:
    """Mixed images and what they are.

    Fields:
        images: `(N, C, H, W)`, of the dtype of those that were mixed.
        targets: Classes of the images, int64 `(N,)`.
        other_targets: Classes of their partners, int64 `(N,)`.
        weights: Weight of `targets`, float32 `(N,)` from 0 to 1; the other target has the rest.
    """

    images: Tensor
    targets: Tensor
    other_targets: Tensor
    weights: Tensor

    def to_probabilities(self, num_classes: int) -> Tensor:
        """Return the targets as probabilities `(N, num_classes)`, which `cross_entropy` takes as they are."""
        found = torch.zeros(len(self.targets), num_classes, device=self.weights.device)
        found.scatter_add_(1, self.targets[:, None], self.weights[:, None])
        return found.scatter_add_(1, self.other_targets[:, None], 1 - self.weights[:, None])


@dataclass(frozen=True, kw_only=True)
class Mixing(Parametrized):
    """What mixes images with those of other samples.

    Params:
        alpha: Both parameters of the beta distribution of the share that an image keeps.
    """

    alpha: float = param(1.0, gt=0, le=1000)

    count: ClassVar[int] = 4

    def choose_partners(self, indices: Tensor, samples: int, epoch: int = 0, seed: int = 42) -> Tensor:
        """Return for each sample the index of its partner among all `samples` of the split, int64 `(N,)`."""
        return to_below(draw(seed, epoch, indices, self.name, 1)[:, 0], samples)

    def __call__(self, batch: Labelled, partners: Labelled, indices: Tensor, epoch: int = 0, seed: int = 42) -> Mixed:
        """Mix images and targets of the samples `indices` with those that `choose_partners` chose.

        Raises:
            DataError: they are no images, or the partners have another shape or dtype.
        """
        (images, targets), (others, other_targets) = batch, partners
        check_images(images, self.name)
        if others.shape != images.shape or others.dtype != images.dtype:
            expected = f"expected partners {tuple(images.shape)} of {name_dtype(images.dtype)}"
            got = f"got {tuple(others.shape)} of {name_dtype(others.dtype)}"
            raise DataError(f"augmentation {quote(self.name)}", f"{expected}, {got}")
        numbers = draw(seed, epoch, indices, self.name, self.count)
        thresholds = place(list_thresholds, images.device, self.alpha)
        shares = torch.searchsorted(thresholds, numbers[:, 1].contiguous(), right=True)
        mixed, weights = self._mix(images, others, shares, numbers[:, 2:])
        return Mixed(images=mixed, targets=targets, other_targets=other_targets, weights=weights)

    def _mix(self, images: Tensor, others: Tensor, shares: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images and the weights `(N,)` of the first ones."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Mixup(Mixing):
    """The weighted sum of two images.

    Integers are mixed in integers and rounded, half up. Floats are two products and a sum, each rounded.
    """

    name: ClassVar[str] = "mixup"

    def _mix(self, images: Tensor, others: Tensor, shares: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        weights = shares.to(torch.float32) / SHARES
        if images.dtype.is_floating_point:
            share = weights.to(images.dtype)[:, None, None, None]
            return images * share + others * (1 - share), weights
        # A shift divides and rounds down, for numbers below 0 too.
        whole = shares[:, None, None, None]
        total = images.to(torch.int64) * whole + others.to(torch.int64) * (SHARES - whole)
        return ((total + SHARES // 2) >> 12).to(images.dtype), weights


@dataclass(frozen=True, kw_only=True)
class CutMix(Mixing):
    """A rectangle of an image is that of its partner; the weights are the true shares of the area.

    The rectangle has the shape of the image and a middle anywhere in it; what lies outside is cut off.
    """

    name: ClassVar[str] = "cutmix"

    def _mix(self, images: Tensor, others: Tensor, shares: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        inside, area = torch.ones((), dtype=torch.bool, device=images.device), torch.ones_like(shares)
        sides = images.shape[2:]
        for axis, side in enumerate(sides):
            length = place(list_lengths, images.device, side)[shares]
            start = to_below(middle[:, axis], side) - length // 2
            end = (start + length).clamp(max=side)
            start = start.clamp(min=0)
            pixels = torch.arange(side, device=images.device)
            along = (pixels >= start[:, None]) & (pixels < end[:, None])
            inside = inside & (along[:, None, :, None] if axis == 0 else along[:, None, None, :])
            area = area * (end - start)
        total = sides.numel()
        return torch.where(inside, others, images), (total - area).to(torch.float32) / total


@lru_cache(maxsize=16)
def list_thresholds(alpha: float) -> Tensor:
    """Return for each share but the last below which drawn numbers it lies, int64 `(4096,)`.

    A share of k parts stands for a beta variable that rounds to k / 4096. The k-th threshold is the distribution
    function at (k + 1/2) / 4096, times 2^32, rounded; a drawn number has as many parts as thresholds are at or below
    it. The table is made once, on the CPU in double precision.
    """
    half = torch.tensor([_find_beta(alpha, (k + 0.5) / SHARES) for k in range(SHARES // 2)], dtype=torch.float64)
    below = torch.cat([half, 1 - half.flip(0)])
    return (below * 2**32).round().to(torch.int64)


def _find_beta(alpha: float, x: float) -> float:
    """Return the distribution function of Beta(alpha, alpha) at `x`, which is below 1/2.

    The series has positive terms only: x^a (1-x)^a / (a B(a, a)) times the sum of prod (2a + n) x / (a + 1 + n).
    """
    log_beta = 2 * math.lgamma(alpha) - math.lgamma(2 * alpha)
    term = total = math.exp(alpha * (math.log(x) + math.log1p(-x)) - log_beta) / alpha
    n = 0
    while term > total * 1e-17:
        term *= (2 * alpha + n) * x / (alpha + 1 + n)
        total += term
        n += 1
    return total


@lru_cache(maxsize=16)
def list_lengths(side: int) -> Tensor:
    """Return how long the rectangle of each share is along a side: side * sqrt(1 - share), rounded down, `(4097,)`."""
    lengths = [math.isqrt((SHARES - share) * side * side // SHARES) for share in range(SHARES + 1)]
    return torch.tensor(lengths, dtype=torch.int64)
