"""Batches of a split: made from tensors in memory here, else from a map-style Dataset or a stream.

`zoo.data.order` says which samples come when.

Augmentation works on raw images, after they were gathered and before they are preprocessed: then a fill is a raw value
whatever the preprocessing is, images are moved while they are small, and each path has the same pixels. So inputs are
never made ahead where images are augmented.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from zoo.data.batch import Batches, BatchSettings
from zoo.data.dataset_batches import DatasetBatches
from zoo.data.order import list_order, split_sizes
from zoo.data.reader import Batch, BatchReader
from zoo.data.splits import Split
from zoo.data.streams import StreamBatches, refuse_stream
from zoo.data.upload import upload
from zoo.errors import quote
from zoo.limits import BATCH_VALUES
from zoo.registry.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.data.augment import Augment

log = logging.getLogger("zoo")

MEMORY_BUDGET = 1 << 30
"""Bytes a split may take as ready-made float32 inputs, or on an accelerator as raw images. Beyond it, a split stays as
it is in the machine's memory and is preprocessed batch by batch.

On a CPU ready-made inputs are worth their memory only when images are resized: the arithmetic on a batch of uint8 costs
little more than gathering four times the bytes, and making all inputs ahead costs what it saves in 3 to 10 epochs or
more. On an accelerator each operation of a step counts. See benchmarks/gather.py."""

MADE_AT_ONCE = 256
"""Images that are made into inputs, or augmented, at once: few enough to stay in a processor's cache, and enough to
share what each operation of torch costs by itself."""


def make_batches(
    split: Split,
    preprocess: Preprocess,
    settings: BatchSettings,
    *,
    name: str,
    num_classes: int,
    image_shape: tuple[int, ...] | None = None,
) -> Batches:
    """Return the batches of a split.

    `name` is that of the data set, for errors. `image_shape` is what each raw image of a Dataset must have; None
    compares those of a batch only.

    Raises:
        UsageError: the split is a stream, and something is asked for that needs all of its samples at hand.
    """
    for slow in settings.augment.slow if settings.augment else ():
        log.info("%s is applied image by image on the CPU: an epoch takes longer than with zoo's own operations", slow)
    mixing = settings.augment.mixing if settings.augment else None
    if mixing is not None:
        why = "each sample is mixed with one that is drawn from all"
        refuse_stream(name, split, f"augmentation {quote(mixing.name)}", why, "Leave it out of augment=...")
    if mixing is not None and not isinstance(split, tuple):
        log.info("%s mixes each sample with another, so an epoch reads twice as many", mixing.name)
    if isinstance(split, tuple):
        return TensorBatches(*split, preprocess, settings, num_classes)
    reader = BatchReader(split, name, num_classes, image_shape)
    if isinstance(split, IterableDataset):
        return StreamBatches(reader, preprocess, settings)
    return DatasetBatches(reader, preprocess, settings)


def make_inputs(images: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """Preprocess all images of a split, some at a time: over the whole it takes twice as long and thrice the memory."""
    shape = preprocess.output_shape(images.shape[1:])
    inputs = torch.empty(len(images), *shape, dtype=torch.float32, device=device)
    count = min(MADE_AT_ONCE, max(1, BATCH_VALUES // max(1, preprocess.count_values(images.shape[1:]))))
    for raw, ready in zip(images.split(count), inputs.split(count), strict=True):
        ready.copy_(preprocess(raw.to(device)))
    return inputs


class TensorBatches:
    """Batches gathered from tensors in memory, on the device when they fit the budget."""

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        preprocess: Preprocess,
        settings: BatchSettings,
        num_classes: int | None = None,
    ) -> None:
        self.samples, self.device, self.classes = len(targets), settings.device, settings.classes
        self.num_classes = num_classes or int(targets.max()) + 1
        self.shuffle_seed, self.seed, self.augment = settings.shuffle_seed, settings.seed, settings.augment
        self.lay = settings.lay
        self.ranks = settings.ranks
        self.sizes = split_sizes(self.samples, settings.batch_size, least=settings.least)
        self.preprocess: Preprocess | None = preprocess
        self.images = images
        shape = preprocess.output_shape(images.shape[1:])
        worthwhile = not self.augment and (self.device.type != "cpu" or preprocess.resizes(images.shape[1:]))
        if worthwhile and 4 * self.samples * torch.Size(shape).numel() <= MEMORY_BUDGET:
            self.images = make_inputs(images, preprocess, self.device)
            self.preprocess = None
        elif images.nbytes <= MEMORY_BUDGET:
            self.images = images.to(self.device)
        self.targets = targets.to(self.images.device, torch.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0, from number `start` on."""
        if self.augment:
            batches = self._augment(self.augment, epoch, start)
        elif self.shuffle_seed is None:
            # Each batch is a copy, so that a model that works in place on its inputs does not change the data.
            parts = (images.clone() for images in self._cut(self.images)[start:])
            batches = zip(parts, self._cut(self.targets.to(self.device))[start:], strict=True)
        else:
            order = self._list_order(epoch)
            targets = self._cut(self.targets[order].to(self.device))[start:]
            chosen = self._cut(order)[start:]
            batches = zip((self.images.index_select(0, indices) for indices in chosen), targets, strict=True)
        for images, targets_of_batch in batches:
            if self.preprocess is None or not len(targets_of_batch):
                yield self.lay(images), targets_of_batch
            else:
                yield self.lay(self.preprocess(upload(images, self.device))), targets_of_batch

    def _list_order(self, epoch: int) -> Tensor:
        """Return the indices of an epoch where the images lie: drawn on the CPU, and moved once."""
        return list_order(self.samples, self.shuffle_seed, epoch, self.classes).to(self.images.device)

    def _cut(self, rows: Tensor) -> Sequence[Tensor]:
        """Return what of each batch is this rank's, of rows for all samples in their order."""
        batches = rows.split(self.sizes)
        return [rows[self.ranks.part(len(rows))] for rows in batches] if self.ranks.are_several else batches

    def _augment(self, augment: Augment, epoch: int, begun: int) -> Iterator[Batch]:
        """Yield augmented raw images and targets of the batches of an epoch; those of several batches are made at once.

        Each image has its own numbers, so it does not matter with which others it is augmented.
        """
        order = self._list_order(epoch)
        values = max(1, self.images.shape[1:].numel())
        count = max(1, min(MADE_AT_ONCE, BATCH_VALUES // values) // self.sizes[0])
        for first in range(begun, len(self.sizes), count):
            sizes = self.sizes[first : first + count]
            start = self.sizes[0] * first
            indices = order[start : start + sum(sizes)]
            if self.ranks.are_several:
                parts = [part[self.ranks.part(len(part))] for part in indices.split(sizes)]
                indices, sizes = torch.cat(parts), list(map(len, parts))
                if not len(indices):
                    yield self.images[:0], self.targets[:0]
                    continue
            images, targets = self._gather(augment, indices, epoch)
            if augment.mixing is not None:
                partners = augment.mixing.choose_partners(indices, self.samples, epoch, self.seed)
                others = self._gather(augment, partners, epoch)
                own = upload(indices, self.device)
                mixed = augment.mixing((images, targets), others, own, epoch, self.seed)
                images, targets = mixed.images, mixed.to_probabilities(self.num_classes)
            yield from zip(images.split(sizes), targets.split(sizes), strict=True)

    def _gather(self, augment: Augment, indices: Tensor, epoch: int) -> Batch:
        """Return the raw images of samples as they are in an epoch, not mixed yet, and their classes."""
        raw = upload(self.images.index_select(0, indices), self.device)
        return augment(raw, indices, epoch, self.seed), upload(self.targets[indices], self.device)

    def first(self) -> Batch:
        """Return the first batch of the first epoch."""
        return next(self.epoch(0))
