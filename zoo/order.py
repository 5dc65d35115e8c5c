"""Order: which samples form which batch of which epoch.

How the order comes about: a generator seeded with the run's seed gives three int64 draws per epoch: the base seed of
the training loader's workers, the seed of the permutation, the base seed of the test loader's workers. They are the
draws two plain `DataLoader`s take from the global generator, so the batches are those of a hand-written loop; and epoch
`e` is a function of seed and `e` alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS_PER_EPOCH = 3


def epoch_generator(seed: int, epoch: int, draw: int = 0) -> torch.Generator:
    """Return the generator of a run's order, positioned at draw number `draw` of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    torch.empty(DRAWS_PER_EPOCH * epoch + draw, dtype=torch.int64).random_(generator=generator)
    return generator


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
