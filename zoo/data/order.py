"""Order: which samples form which batch of which epoch.

A generator seeded with the run's seed gives three int64 draws per epoch: the base seed of the training loader's
workers, the seed of the permutation, the base seed of the test loader's workers. Two plain `DataLoader`s take the same
draws from the global generator, so the batches are those of a hand-written loop; and epoch `e` is a function of seed
and `e` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy
import torch
from torch import Tensor
from torch.utils.data import Sampler

from zoo.data.ranks import ALONE, Ranks

DRAWS_PER_EPOCH = 3
Groups = tuple[Tensor, int]
"""The group of each sample, int32 `(samples,)`, and how many groups are shuffled through at a time."""


class Grouped:
    """A Dataset that may know in which groups its samples lie."""

    def list_groups(self) -> Groups | None:
        """Return the group of each sample and how many groups are shuffled through at a time, None without groups."""
        return None


class OrderSampler(Sampler[list[int]]):
    """Gives the loader the index lists of the batches of the epoch it is set to.

    Where `choose_partners` is given, each batch has the partners of its samples behind them. Of several ranks each has
    its part of every batch.
    """

    def __init__(
        self,
        samples: int,
        sizes: list[int],
        seed: int | None,
        classes: Tensor | None = None,
        choose_partners: Callable[[Tensor, int], Tensor] | None = None,
        groups: Groups | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.samples, self.sizes, self.seed, self.epoch, self.start = samples, sizes, seed, 0, 0
        self.classes, self.choose_partners, self.groups, self.ranks = classes, choose_partners, groups, ranks

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        order = list_order(self.samples, self.seed, self.epoch, self.classes, self.groups)
        for batch in order.split(self.sizes)[self.start :]:
            indices = batch[self.ranks.part(len(batch))]
            partners = [] if self.choose_partners is None else self.choose_partners(indices, self.epoch).tolist()
            yield indices.tolist() + partners


def epoch_generator(seed: int, epoch: int, draw: int = 0) -> torch.Generator:
    """Return the generator of a run's order, positioned at draw number `draw` of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    torch.empty(DRAWS_PER_EPOCH * epoch + draw, dtype=torch.int64).random_(generator=generator)
    return generator


def list_order(
    samples: int, seed: int | None, epoch: int, classes: Tensor | None = None, groups: Groups | None = None
) -> Tensor:
    """Return the indices of the samples in the order of an epoch, int64 `(samples,)`: as they lie without a seed.

    With the class of each sample, `(samples,)`, each class has its turn equally often, see `draw_balanced`. Where
    samples lie in groups, some groups at a time are shuffled through, see `draw_in_windows`.
    """
    if seed is None:
        return torch.arange(samples)
    if classes is not None:
        return draw_balanced(classes, seed, epoch)
    return epoch_order(samples, seed, epoch) if groups is None else draw_in_windows(groups, seed, epoch)


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the permutation of the samples in an epoch, int64 `(samples,)`."""
    return torch.randperm(samples, generator=_order_generator(seed, epoch))


def draw_balanced(classes: Tensor, seed: int, epoch: int) -> Tensor:
    """Return as many indices as there are samples, drawn with replacement, int64 `(samples,)`.

    Each class that has samples is drawn equally often, up to one more where their number does not divide that of the
    samples; which ones get one more is drawn too.
    """
    generator, samples = _order_generator(seed, epoch), len(classes)
    counts = torch.bincount(classes)
    present = counts.nonzero().flatten()
    # A class for each place: as many of each, in a random order of the classes, then all places shuffled.
    present = present[torch.randperm(len(present), generator=generator)]
    drawn = present.repeat(-(-samples // len(present)))[:samples][torch.randperm(samples, generator=generator)]
    # Sorted by class, the samples of a class lie one after the other.
    by_class = torch.sort(classes, stable=True).indices
    starts = counts.cumsum(0) - counts
    places = torch.empty(samples, dtype=torch.int64).random_(generator=generator) % counts[drawn]
    return by_class[starts[drawn] + places]


def draw_in_windows(groups: Groups, seed: int, epoch: int) -> Tensor:
    """Return a permutation of samples that lie in groups, int64 `(samples,)`, those of a few groups at a time.

    Which groups come together is drawn anew in each epoch, and their samples are shuffled as one. Where all groups come
    together, it is the permutation of samples that lie in none.
    """
    of_sample, together = groups
    there = torch.bincount(of_sample).nonzero().flatten()
    if len(there) <= together:
        return epoch_order(len(of_sample), seed, epoch)
    generator = _order_generator(seed, epoch)
    drawn = torch.randperm(len(there), generator=generator) // together
    shuffled = torch.randperm(len(of_sample), generator=generator)
    # Numbers of 16 bits are sorted byte by byte, in one pass for each, which takes a fraction of the time.
    windows = torch.zeros(int(there[-1]) + 1, dtype=torch.int16 if len(drawn) < 1 << 15 else torch.int32)
    windows[there] = drawn.to(windows.dtype)
    order = numpy.argsort(windows[of_sample[shuffled]].numpy(), kind="stable")
    return shuffled[torch.from_numpy(order)]


def _order_generator(seed: int, epoch: int) -> torch.Generator:
    draw = torch.empty((), dtype=torch.int64).random_(generator=epoch_generator(seed, epoch, draw=1))
    return torch.Generator().manual_seed(int(draw))


def split_sizes(samples: int, batch_size: int, *, least: int = 1) -> list[int]:
    """Return the size of each batch; a last batch of fewer than `least` samples joins the one before it."""
    sizes = [batch_size] * (samples // batch_size)
    rest = samples % batch_size
    if rest < least and sizes:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    return sizes
