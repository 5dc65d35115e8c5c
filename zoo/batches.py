"""Batches: the order of the samples, and two ways to the same batches: from memory, or through a DataLoader.

How the order comes about: a generator seeded with the run's seed gives three int64 draws per epoch: the base seed of
the training loader's workers, the seed of the permutation, the base seed of the test loader's workers. They are the
draws two plain `DataLoader`s take from the global generator, so the batches are those of a hand-written loop; and epoch
`e` is a function of seed and `e` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from zoo.data import Split, to_image
from zoo.errors import DataError, WorkerError, describe, quote
from zoo.preprocess import Preprocess

DRAWS_PER_EPOCH = 3
MEMORY_BUDGET = 1 << 30
"""Bytes a split may take as ready-made float32 inputs, or on an accelerator as raw images. Beyond it, a split stays as
it is in the machine's memory and is preprocessed batch by batch.

On a CPU ready-made inputs are worth their memory only when there is more to do than a division: dividing a batch of
uint8 costs as much as gathering four times the bytes, and making all inputs ahead costs half an epoch of a small model.
On an accelerator each operation of a step counts. See benchmarks/gather.py."""

Batch = tuple[Tensor, Tensor]


class Batches(Protocol):
    """Batches `(inputs, targets)` of one split on one device."""

    samples: int

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0."""


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


def make_batches(
    split: Split,
    preprocess: Preprocess,
    *,
    name: str,
    num_classes: int,
    batch_size: int,
    device: torch.device,
    shuffle_seed: int | None = None,
    loader_seed: int = 0,
    workers: int = 0,
    merge_single: bool = False,
) -> Batches:
    """Return the batches of a split, in the order of `shuffle_seed`, or as the samples lie when it is None."""
    if isinstance(split, tuple):
        return TensorBatches(*split, preprocess, batch_size, device, shuffle_seed, merge_single)
    reader = BatchReader(split, name, num_classes)
    return LoaderBatches(reader, preprocess, batch_size, device, shuffle_seed, loader_seed, workers, merge_single)


class TensorBatches:
    """Batches gathered from tensors in memory, on the device when they fit the budget."""

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        preprocess: Preprocess,
        batch_size: int,
        device: torch.device,
        shuffle_seed: int | None,
        merge_single: bool,
    ) -> None:
        self.samples = len(targets)
        self.device = device
        self.shuffle_seed = shuffle_seed
        self.sizes = split_sizes(self.samples, batch_size, merge_single=merge_single)
        self.preprocess: Preprocess | None = preprocess
        self.images, self.targets = images, targets.to(torch.int64)
        shape = preprocess.output_shape(images.shape[1:])
        worthwhile = device.type != "cpu" or not preprocess.only_scales
        if worthwhile and 4 * self.samples * torch.Size(shape).numel() <= MEMORY_BUDGET:
            self.images = preprocess(images.to(device)).contiguous()
            self.preprocess = None
        elif images.nbytes <= MEMORY_BUDGET:
            self.images = images.to(device)

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0."""
        if self.shuffle_seed is None:
            batches = zip(self.images.split(self.sizes), self.targets.to(self.device).split(self.sizes), strict=True)
        else:
            order = epoch_order(self.samples, self.shuffle_seed, epoch)
            targets = self.targets[order].to(self.device).split(self.sizes)
            chosen = order.to(self.images.device).split(self.sizes)
            batches = zip((self.images.index_select(0, indices) for indices in chosen), targets, strict=True)
        for images, targets_of_batch in batches:
            if self.preprocess is None:
                yield images, targets_of_batch
            else:
                yield self.preprocess(images.to(self.device, non_blocking=True)), targets_of_batch


class Failure:
    """A sample that could not be read, as a value: an exception would arrive with a worker's whole traceback."""

    def __init__(self, sample: int, cause: str) -> None:
        self.sample, self.cause = sample, cause


class BatchReader(Dataset[Any]):
    """Reads whole batches of a Dataset: an index is a list of sample indices."""

    def __init__(self, dataset: Dataset[Any], name: str, num_classes: int) -> None:
        self.dataset, self.name, self.num_classes = dataset, name, num_classes

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, indices: list[int]) -> Batch | Failure:
        images: list[Tensor] = []
        targets: list[int] = []
        for index in indices:
            try:
                image, target = self.dataset[index]
                image = to_image(image)
                targets.append(_check_sample(image, target, images, self.num_classes))
                images.append(image)
            except Exception as error:  # noqa: BLE001 a data set may raise anything; it is reported with its sample
                return Failure(index, describe(error))
        return torch.stack(images), torch.tensor(targets, dtype=torch.int64)


def _check_sample(image: Tensor, target: Any, others: list[Tensor], num_classes: int) -> int:
    if isinstance(target, float | str) or int(target) != target:
        raise TypeError(f"expected an integer target, got {target!r}")
    if not 0 <= int(target) < num_classes:
        raise ValueError(f"target {int(target)} is outside 0..{num_classes - 1}")
    if others and image.shape != others[0].shape:
        raise ValueError(f"the image is {tuple(image.shape)}, those before it {tuple(others[0].shape)}")
    if image.dtype.is_floating_point and not bool(torch.isfinite(image).all()):
        raise ValueError("the image has values that are not finite")
    return int(target)


class OrderSampler(Sampler[list[int]]):
    """Gives the loader the index lists of the batches of the epoch it is set to."""

    def __init__(self, samples: int, sizes: list[int], seed: int | None) -> None:
        self.samples, self.sizes, self.seed, self.epoch = samples, sizes, seed, 0

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.samples) if self.seed is None else epoch_order(self.samples, self.seed, self.epoch)
        return (indices.tolist() for indices in order.split(self.sizes))


class LoaderBatches:
    """Batches of any map-style Dataset through a `DataLoader`, in this process or in workers.

    Workers start anew each epoch: kept ones would carry their random state over, and epoch `e` would no longer be a
    function of seed and `e`.
    """

    def __init__(
        self,
        reader: BatchReader,
        preprocess: Preprocess,
        batch_size: int,
        device: torch.device,
        shuffle_seed: int | None,
        loader_seed: int,
        workers: int,
        merge_single: bool,
    ) -> None:
        self.samples = len(reader)
        self.reader, self.preprocess, self.device = reader, preprocess, device
        self.seed = loader_seed if shuffle_seed is None else shuffle_seed
        self.draw = 2 if shuffle_seed is None else 0
        sizes = split_sizes(self.samples, batch_size, merge_single=merge_single)
        self.sampler = OrderSampler(self.samples, sizes, shuffle_seed)
        self.generator = torch.Generator()
        self.loader = DataLoader(
            reader,
            batch_size=None,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
            generator=self.generator,
        )

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0.

        Raises:
            DataError: a sample cannot be read; names it.
            WorkerError: a worker process died.
        """
        self.sampler.epoch = epoch
        # The loader draws the base seed of its workers from here: training the first of the epoch, test the third.
        self.generator.set_state(epoch_generator(self.seed, epoch, self.draw).get_state())
        try:
            for batch in self.loader:
                if isinstance(batch, Failure):
                    raise DataError(f"dataset {quote(self.reader.name)}: sample {batch.sample}", batch.cause)
                images, targets = batch
                inputs = self.preprocess(images.to(self.device, non_blocking=True))
                yield inputs, targets.to(self.device, non_blocking=True)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise WorkerError(
                f"dataset {quote(self.reader.name)}: a data worker died", str(error), "Use --workers 0, or free memory"
            ) from error


def _as_it_is(batch: Any) -> Any:
    return batch
