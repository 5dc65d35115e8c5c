"""Batches of a map-style Dataset, read sample by sample in this process or in workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.data.batch import BatchSettings, as_it_is
from zoo.data.order import Grouped, OrderSampler, epoch_generator, split_sizes
from zoo.data.overlap import hash_rows
from zoo.data.reader import Batch, BatchReader, Failure
from zoo.data.shared import SharedReader, Shortage, find_free
from zoo.data.upload import upload
from zoo.data.workers import name_dead_worker, read_from, settle
from zoo.errors import DataError, quote
from zoo.registry.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.data.augment.mixing import Mixing


class DatasetBatches:
    """Batches of any map-style Dataset through a `DataLoader`, in this process or in workers.

    Workers start anew each epoch: kept ones would carry their random state over, and epoch `e` would no longer be a
    function of seed and `e`.
    """

    def __init__(self, reader: BatchReader, preprocess: Preprocess, settings: BatchSettings) -> None:
        self.samples, self.workers, self.ranks = len(reader), settings.workers, settings.ranks
        self.reader, self.preprocess, self.device = reader, preprocess, settings.device
        self.augment, seed = settings.augment, settings.shuffle_seed
        self.lay = settings.lay
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
            collate_fn=as_it_is,
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
