"""Batch settings: how the samples of a split become batches, and what all that makes batches has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from zoo.data.ranks import ALONE, Ranks
from zoo.data.reader import Batch

if TYPE_CHECKING:
    from zoo.data.augment import Augment


class Batches(Protocol):
    """Batches `(inputs, targets)` of one split on one device.

    Targets are classes, int64 `(N,)`; where images are mixed they are the shares of classes, float32 `(N, classes)`.
    """

    samples: int

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0, from number `start` on."""

    def first(self) -> Batch:
        """Return the first batch of the first epoch, read in this process."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How the samples of a split become batches.

    Fields:
        batch_size: Samples of a batch.
        device: Where the batches are.
        shuffle_seed: Seed of the order of the samples; None leaves them as they lie.
        loader_seed: Seed of the workers where samples are not shuffled.
        workers: Processes that read a Dataset; 0 reads it in this one.
        least: Samples that the last batch must have; one of fewer joins the batch before it.
        augment: What is done to raw images in each epoch, by the seed of the order; for the training split only.
        channels_last: Whether the channels of inputs that are images lie last in memory.
        classes: The class of each sample, int64 `(samples,)`, where each class is drawn equally often in an epoch; None
            takes each sample once.
        ranks: Which part of each batch is read; the order and the batches are those of all ranks together.
    """

    batch_size: int
    device: torch.device
    shuffle_seed: int | None = None
    loader_seed: int = 0
    workers: int = 0
    least: int = 1
    augment: Augment | None = None
    channels_last: bool = False
    classes: Tensor | None = None
    ranks: Ranks = ALONE

    @property
    def seed(self) -> int:
        """The seed of whatever is drawn."""
        return self.loader_seed if self.shuffle_seed is None else self.shuffle_seed

    @property
    def lay(self) -> Callable[[Tensor], Tensor]:
        """What lays inputs in memory as they are to lie."""
        return lay_last if self.channels_last else as_it_is


def lay_last(images: Tensor) -> Tensor:
    """Return images `(N, C, H, W)` whose channels lie last in memory, not copied where they do, others as they are.

    For floats that takes less than half of the time that it takes for the bytes which they are made of.
    """
    if images.ndim != 4:
        return images
    channels, height, width = images.shape[1:]
    # Of a single channel both ways are the same; torch takes it for the one that the strides look like.
    strides = (channels * height * width, 1, width * channels, channels)
    return images.contiguous(memory_format=torch.channels_last).as_strided(images.shape, strides)


def as_it_is(batch: Any) -> Any:
    """Return what is given, for a DataLoader that need not put samples together."""
    return batch
