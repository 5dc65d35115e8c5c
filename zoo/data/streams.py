"""Streams: batches of an `IterableDataset`, which gives its samples in one order only, in this process or in workers.

Each worker gives its part of the samples, and the parts are joined in turns, a batch of each: so the order follows from
what the stream does, the seed, the epoch and the number of workers. How many samples it gives was declared; more or
fewer are an error, since an epoch with other samples than those that were promised is another training.
"""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, _utils, get_worker_info

from zoo.data.batch import BatchSettings, as_it_is
from zoo.data.order import epoch_generator, split_sizes
from zoo.data.overlap import hash_rows
from zoo.data.reader import Batch, BatchReader, Failure
from zoo.data.shared import Shortage, find_free, measure_shortage
from zoo.data.upload import upload
from zoo.data.workers import name_dead_worker, read_from, settle
from zoo.errors import DataError, UsageError, describe, quote
from zoo.registry.global_state import keep_generators
from zoo.registry.preprocess import Preprocess

OWN_PART = "Let __iter__ give the part of its worker alone (torch.utils.data.get_worker_info), or use workers=0"


class CountedStream(IterableDataset[Any]):
    """A stream whose length somebody else declares."""

    def __init__(self, dataset: IterableDataset[Any], samples: int) -> None:
        self.dataset, self.samples = dataset, samples

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset)

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Hand on which epoch is to be read."""
        announce_epoch(self.dataset, epoch, seed)


def count_stream(split: Any, samples: int | None) -> Any:
    """Return a split; a stream without a length gets the declared one, where there is one."""
    counted = not isinstance(split, IterableDataset) or hasattr(type(split), "__len__")
    return split if counted or samples is None else CountedStream(split, samples)


def announce_epoch(dataset: Any, epoch: int, seed: int) -> None:
    """Tell a stream which epoch is about to be read, from 0, where it has a method `set_epoch`.

    It is called as `set_epoch(epoch, seed=seed)` where it has a parameter of that name, else as `set_epoch(epoch)`.
    """
    method = getattr(dataset, "set_epoch", None)
    if method is None:
        return
    if "seed" in inspect.signature(method).parameters:
        method(epoch, seed=seed)
    else:
        method(epoch)


def refuse_stream(name: str, split: Any, what: str, why: str, fix: str) -> None:
    """Raise UsageError where a training split is a stream, of which `what` cannot be had, and `why`."""
    if isinstance(split, IterableDataset):
        raise UsageError(f"{what} cannot be had for dataset {quote(name)}, whose training split is a stream", why, fix)


class StreamReader(IterableDataset[Any]):
    """Reads the samples of a stream as batches `(worker, images, targets)` of `size` samples, the last one of fewer."""

    def __init__(self, reader: BatchReader, size: int) -> None:
        self.reader, self.size = reader, size
        self.free: int | None = None

    def __iter__(self) -> Iterator[tuple[int, Batch | Failure | Shortage]]:
        info = get_worker_info()
        worker, first = 0 if info is None else info.id, 0
        try:
            samples = iter(self.reader.dataset)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 even SystemExit, which would end a worker without a word
            yield worker, Failure(0, describe(error))
            return
        while True:
            batch = self.reader.read(samples, self.size, first)
            if batch is None:
                return
            lacking: Shortage | None = None
            if info is not None and self.free is not None and not isinstance(batch, Failure):
                lacking = measure_shortage(batch, info.num_workers, self.free)
            yield worker, lacking or batch
            if lacking or isinstance(batch, Failure) or len(batch[1]) < self.size:
                return
            first += self.size


class StreamBatches:
    """Batches of a stream; see `zoo.data.batch.Batches`.

    A split that is trained on is read by `workers` processes. One that is evaluated is read by one at most, so that its
    samples come in the order of the stream, and their predictions have the same numbers wherever they are made. Each of
    several ranks reads all of it, and takes its part of every batch.
    """

    def __init__(self, reader: BatchReader, preprocess: Preprocess, settings: BatchSettings) -> None:
        self.samples, self.trains = len(reader), settings.shuffle_seed is not None
        self.workers = settings.workers if self.trains else min(settings.workers, 1)
        self.reader, self.preprocess, self.device = reader, preprocess, settings.device
        self.augment, self.seed, self.lay, self.ranks = settings.augment, settings.seed, settings.lay, settings.ranks
        self.sizes = split_sizes(self.samples, settings.batch_size, least=settings.least)
        self.hashes: list[Tensor] = []
        self.stream = StreamReader(reader, settings.batch_size)
        self.generator = torch.Generator()
        self.loader = DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=as_it_is,
            pin_memory=settings.device.type == "cuda",
            generator=self.generator,
            worker_init_fn=settle,
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0, from number `start` on: those before it are read again.

        Raises:
            DataError: a sample cannot be read, or there are more or fewer of them than was declared.
            WorkerError: a worker process died, or there is too little shared memory.
        """
        if epoch == 0:
            self.hashes = []
        with name_dead_worker(self.reader.name), closing(self._read(epoch, self.workers)) as read:
            place = 0
            for number, batch in enumerate(self._regroup(read)):
                if number >= start:
                    yield self._prepare(batch, place, epoch, noted=epoch == 0)
                place += len(batch[1])

    def first(self) -> Batch:
        """Return the first batch of the first epoch, as one process reads it; raise DataError as `epoch` does."""
        with closing(self._read(0, 0)) as read:
            return self._prepare(next(self._regroup(read)), 0, 0)

    def _read(self, epoch: int, workers: int) -> Generator[tuple[int, Batch], None, None]:
        """Yield what the workers read, with the number of each, or this process."""
        if self.trains:
            try:
                announce_epoch(self.reader.dataset, epoch, self.seed)
            except Exception as error:
                what = f"dataset {quote(self.reader.name)}: its set_epoch fails for epoch {epoch}"
                raise DataError(what, describe(error)) from error
        # One that is evaluated is the same in each epoch, whatever it draws.
        drawn = epoch_generator(self.seed, epoch) if self.trains else epoch_generator(self.seed, 0, 2)
        self.generator.set_state(drawn.get_state())
        self.stream.free = find_free()
        source = read_from(self.loader, self.stream.size) if workers else read_here(self.stream, self.generator)
        with closing(source) as read:
            for worker, batch in read:
                if isinstance(batch, Failure):
                    raise DataError(self._name(f"sample {batch.sample}", worker), batch.cause)
                if isinstance(batch, Shortage):
                    raise batch.tell(self.reader.name)
                yield worker, batch

    def _regroup(self, read: Iterator[tuple[int, Batch]]) -> Iterator[Batch]:
        """Yield batches of the sizes that are wanted; raise DataError where there are more or fewer samples."""
        there, total, reads, given = list[Batch](), 0, 0, Counter[int]()
        firsts = dict[int, Tensor]()
        for number, size in enumerate(self.sizes):
            last = number == len(self.sizes) - 1
            while True:
                held = sum(len(targets) for _, targets in there)
                # So that the first batch of each worker is compared with the others before any is trained on.
                if held >= size and not last and reads >= self.workers:
                    break
                found = next(read, None)
                if found is None:
                    break
                worker, batch = found
                reads += 1
                _check_form(self.reader.name, (there or [batch])[0][0], batch[0])
                total, given[worker] = total + len(batch[1]), given[worker] + len(batch[1])
                if worker not in firsts:
                    self._refuse_twins(firsts, worker, batch[0])
                there.append(batch)
                if total > self.samples:
                    raise self._miscount(f"{total:,} or more", given)
            if held < size:
                raise self._miscount(f"{total:,}", given)
            images, targets = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*there, strict=True))
            there = [(images[size:], targets[size:])] if len(targets) > size else []
            yield images[:size], targets[:size]

    def _refuse_twins(self, firsts: dict[int, Tensor], worker: int, images: Tensor) -> None:
        """Raise DataError where a worker begins with the very samples of another; those of one image say nothing."""
        firsts[worker] = hashes = hash_rows(images)
        for other, known in firsts.items():
            if other != worker and torch.equal(known, hashes) and len(hashes.unique()) > 1:
                what = f"its workers {other} and {worker} give the same {len(hashes)} samples"
                raise DataError(f"dataset {quote(self.reader.name)}: {what}", fix=OWN_PART)

    def _miscount(self, got: str, given: Mapping[int, int]) -> DataError:
        what = f"dataset {quote(self.reader.name)}: a stream gave {got} samples in an epoch"
        why = f"its length says {self.samples:,}"
        if len(given) < 2:
            return DataError(what, why, "Declare as many samples as it gives, and let each __iter__ begin anew")
        each = " and ".join(f"{count:,}" for _, count in sorted(given.items()))
        return DataError(f"{what} (its workers {each})", why, f"Declare as many samples as it gives. {OWN_PART}")

    def _name(self, what: str, worker: int) -> str:
        return f"dataset {quote(self.reader.name)}: {what}{f' of worker {worker}' if self.workers > 1 else ''}"

    def _prepare(self, batch: Batch, place: int, epoch: int, *, noted: bool = False) -> Batch:
        if noted:  # in passing, for zoo.data.overlap
            self.hashes.append(hash_rows(batch[0]))
        own = self.ranks.part(len(batch[1]))
        images, targets = (upload(part[own], self.device) for part in batch)
        if not len(targets):
            return images, targets
        if self.augment:
            # No sample has a number of its own: that is its place in the epoch.
            images = self.augment(images, range(place + own.start, place + own.stop), epoch, self.seed)
        return self.lay(self.preprocess(images)), targets


def read_here(stream: StreamReader, generator: torch.Generator) -> Generator[Any, None, None]:
    """Yield what a stream gives in this process, where it draws what it would draw in a worker alone.

    The global generators are its own while it reads: the program draws as if there were no stream.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
    with keep_generators():
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(_utils.worker._generate_state(seed, 0))
        states = _read_generators()
    batches = iter(stream)
    while True:
        with keep_generators():
            _set_generators(states)
            batch = next(batches, None)
            states = _read_generators()
        if batch is None:
            return
        yield batch


def _read_generators() -> tuple[Any, ...]:
    return torch.get_rng_state(), random.getstate(), numpy.random.get_state()


def _set_generators(states: tuple[Any, ...]) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    numpy.random.set_state(states[2])


def _check_form(name: str, one: Tensor, other: Tensor) -> None:
    """Raise DataError where the images of two batches cannot be joined."""
    if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
        told = " and ".join(f"{tuple(images.shape[1:])} of {images.dtype}" for images in (one, other))
        raise DataError(f"dataset {quote(name)}: a stream gives images {told}", "they cannot be of one batch")
