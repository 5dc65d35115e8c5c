"""Order: which samples form which batch of which epoch.

A generator seeded with the run's seed gives three int64 draws per epoch: the base seed of the training loader's
workers, the seed of the permutation, the base seed of the test loader's workers. Two plain `DataLoader`s take the same
draws from the global generator, so the batches are those of a hand-written loop; and epoch `e` is a function of seed
and `e` alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

DRAWS_PER_EPOCH = 3


class OrderSampler(Sampler[list[int]]):
    """Gives the loader the index lists of the batches of the epoch it is set to."""

    def __init__(self, samples: int, sizes: list[int], seed: int | None) -> None:
        self.samples, self.sizes, self.seed, self.epoch, self.start = samples, sizes, seed, 0, 0

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        order = list_order(self.samples, self.seed, self.epoch)
        return (indices.tolist() for indices in order.split(self.sizes)[self.start :])


def epoch_generator(seed: int, epoch: int, draw: int = 0) -> torch.Generator:
    """Return the generator of a run's order, positioned at draw number `draw` of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    torch.empty(DRAWS_PER_EPOCH * epoch + draw, dtype=torch.int64).random_(generator=generator)
    return generator


def list_order(samples: int, seed: int | None, epoch: int) -> Tensor:
    """Return the indices of the samples in the order of an epoch, int64 `(samples,)`: as they lie without a seed."""
    return torch.arange(samples) if seed is None else epoch_order(samples, seed, epoch)


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the permutation of the samples in an epoch, int64 `(samples,)`."""
    draw = torch.empty((), dtype=torch.int64).random_(generator=epoch_generator(seed, epoch, draw=1))
    return torch.randperm(samples, generator=torch.Generator().manual_seed(int(draw)))


def split_sizes(samples: int, batch_size: int, *, merge_single: bool) -> list[int]:
    """Return the size of each batch; `merge_single` adds a last batch of one sample to the one before it."""
    sizes = [batch_size] * (samples // batch_size)
    rest = samples % batch_size
    if rest == 1 and merge_single and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes
