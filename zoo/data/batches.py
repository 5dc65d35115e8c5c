"""Batches: which samples form which batch of which epoch, from memory or through a DataLoader.

`zoo.data.order` says which samples come when.

Augmentation works on raw images, after they were gathered and before they are preprocessed: then a fill is a raw value
whatever the preprocessing is, images are moved while they are small, and each path has the same pixels. So inputs are
never made ahead where images are augmented.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from zoo.data.order import Grouped, OrderSampler, epoch_generator, list_order, split_sizes
from zoo.data.overlap import hash_rows
from zoo.data.ranks import ALONE, Ranks
from zoo.data.reader import Batch, BatchReader, Failure
from zoo.data.shared import SharedReader, Shortage, find_free
from zoo.data.splits import Split
from zoo.data.streams import StreamBatches, refuse_stream
from zoo.data.upload import upload
from zoo.data.workers import name_dead_worker, read_from, settle
from zoo.errors import DataError, quote
from zoo.limits import BATCH_VALUES
from zoo.registry.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.data.augment import Augment
    from zoo.data.augment.mixing import Mixing

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
        return StreamBatches(reader, preprocess, settings, lay_last if settings.channels_last else _as_it_is)
    return LoaderBatches(reader, preprocess, settings)


def make_inputs(images: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """Preprocess all images of a split, some at a time: over the whole it takes twice as long and thrice the memory."""
    shape = preprocess.output_shape(images.shape[1:])
    inputs = torch.empty(len(images), *shape, dtype=torch.float32, device=device)
    count = min(MADE_AT_ONCE, max(1, BATCH_VALUES // max(1, preprocess.count_values(images.shape[1:]))))
    for raw, ready in zip(images.split(count), inputs.split(count), strict=True):
        ready.copy_(preprocess(raw.to(device)))
    return inputs


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
        self.lay = lay_last if settings.channels_last else _as_it_is
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


class LoaderBatches:
    """Batches of any map-style Dataset through a `DataLoader`, in this process or in workers.

    Workers start anew each epoch: kept ones would carry their random state over, and epoch `e` would no longer be a
    function of seed and `e`.
    """

    def __init__(self, reader: BatchReader, preprocess: Preprocess, settings: BatchSettings) -> None:
        self.samples, self.workers, self.ranks = len(reader), settings.workers, settings.ranks
        self.reader, self.preprocess, self.device = reader, preprocess, settings.device
        self.augment, seed = settings.augment, settings.shuffle_seed
        self.lay = lay_last if settings.channels_last else _as_it_is
        self.seed, self.draw = settings.seed, 2 if seed is None else 0
        sizes = split_sizes(self.samples, settings.batch_size, least=settings.least)
        mixing = settings.augment.mixing if settings.augment else None
        choose = partial(_choose_partners, mixing, self.samples, self.seed) if mixing else None
        groups = reader.dataset.list_groups() if isinstance(reader.dataset, Grouped) else None
        self.sampler = OrderSampler(self.samples, sizes, seed, settings.classes, choose, groups, settings.ranks)
        self.hashes: list[Tensor] = []
        self.kept: tuple[Any, Sequence[int]] | None = None
        self.generator = torch.Generator()
        self.shared = SharedReader(reader)
        self.loader = DataLoader(
            self.shared,
            batch_size=None,
            sampler=self.sampler,
            num_workers=settings.workers,
            collate_fn=_as_it_is,
            pin_memory=settings.device.type == "cuda",
            generator=self.generator,
            worker_init_fn=settle,
        )

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0, from number `start` on.

        Raises:
            DataError: a sample cannot be read; names it.
            WorkerError: a worker process died, or there is too little shared memory.
        """
        # What was read before the training began belongs to epoch 0: one that goes on in a later epoch draws anew.
        first, self.kept = self.kept if start == epoch == 0 else None, None
        # What a Dataset draws in a worker follows from all that the worker has read in the epoch: it reads that again.
        again = start if self.workers else 0
        self.sampler.epoch, self.sampler.start = epoch, start - again if first is None else 1
        self.shared.free = find_free()
        if epoch == 0:
            self.hashes = []
        if first is not None:
            batch, indices = first
            yield self._prepare(batch, indices, epoch, noted=epoch == 0)
            if self.sampler.start == len(self.sampler):
                return
        # The loader draws the base seed of its workers from this generator. For training it is the first draw of the
        # epoch, for the test split the third.
        self.generator.set_state(epoch_generator(self.ranks.vary(self.seed), epoch, self.draw).get_state())
        order: Iterable[Sequence[int]] = self.sampler if self.augment else repeat(())
        # An error holds what there is in this frame: the workers are ended here, not when it is let go.
        read = closing(read_from(self.loader, max(self.sampler.sizes)))
        with name_dead_worker(self.reader.name), read as batches:
            for batch, indices in islice(zip(batches, order, strict=False), again, None):
                yield self._prepare(batch, indices, epoch, noted=epoch == 0)

    def first(self) -> Batch:
        """Return the first batch of the first epoch, read in this process; raise DataError as `epoch` does.

        Where each epoch has the same order, it is kept and not read again by the next one.
        """
        self.sampler.epoch, self.sampler.start = 0, 0
        indices = next(iter(self.sampler))
        batch = self.reader[indices]
        self.kept = (batch, indices) if self.sampler.seed is None else None
        return self._prepare(batch, indices, 0)

    def _prepare(
        self, batch: Batch | Failure | Shortage, indices: Sequence[int], epoch: int, *, noted: bool = False
    ) -> Batch:
        if isinstance(batch, Failure):
            raise DataError(f"dataset {quote(self.reader.name)}: sample {batch.sample}", batch.cause)
        if isinstance(batch, Shortage):
            raise batch.tell(self.reader.name)
        images, targets = batch
        if not len(targets):
            return images, targets
        mixing = self.augment.mixing if self.augment else None
        count = len(targets) if mixing is None else len(targets) // 2
        if noted:  # in passing, for zoo.data.overlap
            self.hashes.append(hash_rows(images[:count]))
        images, targets = (upload(part, self.device) for part in batch)
        if self.augment:
            images = self.augment(images, indices, epoch, self.seed)
        if mixing is not None:
            own = upload(torch.tensor(indices[:count]), self.device)
            mixed = mixing((images[:count], targets[:count]), (images[count:], targets[count:]), own, epoch, self.seed)
            images, targets = mixed.images, mixed.to_probabilities(self.reader.num_classes)
        return self.lay(self.preprocess(images)), targets


def _choose_partners(mixing: Mixing, samples: int, seed: int, indices: Tensor, epoch: int) -> Tensor:
    return mixing.choose_partners(indices, samples, epoch, seed)


def _as_it_is(batch: Any) -> Any:
    return batch
