"""Validation: a part of the training split that is held back, to choose by it and not by the test split."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch.utils.data import Subset

from zoo.data.named import NamedDataset
from zoo.data.splits import DataSplits, FilesDataset, Split, count_samples
from zoo.data.streams import refuse_stream
from zoo.errors import DataError, UsageError, quote

log = logging.getLogger("zoo")

COMPARED = 16
"""Samples of a Dataset whose targets are compared with those that it lists."""


def hold_back(name: str, splits: DataSplits, fraction: float, seed: int, digest: str | None) -> DataSplits:
    """Return the splits of data set `name` with a share of the training samples as the validation split.

    Each class gives the same share, rounded, and at least one sample. Which ones these are depends on the digest of the
    data, the share and the seed alone; without a digest, on the targets in its place. Those that stay keep their order.

    Raises:
        UsageError: the data set has a validation split of its own, or its training split is a stream.
        DataError: a class has too few samples for both parts, or a target cannot be read.
    """
    if splits.validation is not None:
        fix = "Leave out validation=..."
        raise UsageError(f"dataset {quote(name)} has a validation split of its own", fix=fix)
    why = "a share of each class is held back, and its samples cannot be looked up"
    refuse_stream(name, splits.train, "a validation split", why, "Leave out validation=...")
    targets = read_targets(splits.train)
    source = digest or hashlib.sha256(targets.tobytes()).hexdigest()
    key = hashlib.sha256(f"{source} {fraction!r} {seed}".encode()).digest()
    random = numpy.random.RandomState(
        numpy.frombuffer(key, dtype="<u4")
    )  # numpy has promised never to change its stream
    held = numpy.zeros(len(targets), dtype=bool)
    for index, class_name in enumerate(splits.class_names):
        places = numpy.flatnonzero(targets == index)
        if len(places) == 1:
            what = f"dataset {quote(name)}: class {quote(class_name)} has one training sample"
            raise DataError(what, "a validation split needs one more", "Leave out validation=...")
        count = min(max(1, round(fraction * len(places))), len(places) - 1)
        held[random.permutation(places)[: max(0, count)]] = True
    parts = [_take(splits.train, numpy.flatnonzero(chosen)) for chosen in (~held, held)]
    return replace(splits, train=parts[0], validation=parts[1])


def read_targets(split: Split) -> NDArray[numpy.int64]:
    """Return the class of each sample, `(N,)`: of a Dataset from its `targets`, or by reading every sample.

    What a Dataset calls `targets` may not be what it gives, where it transforms them: a few samples are compared. What
    cannot be looked up costs as much as an epoch without training, once.
    """
    if isinstance(split, tuple):
        return numpy.asarray(split[1].cpu(), dtype=numpy.int64)
    count = count_samples(split)
    inner = split.dataset if isinstance(split, NamedDataset) else split
    known: Any = list_targets(inner)
    some = range(0, count, max(1, count // COMPARED))
    listed = isinstance(known, list | tuple | torch.Tensor | numpy.ndarray) and len(known) == count
    if listed and all(int(split[index][1]) == known[index] for index in some):
        return numpy.asarray(known, dtype=numpy.int64)
    log.info("reading each of %d samples to learn its class: the data set lists no targets", count)
    return numpy.asarray([int(split[index][1]) for index in range(count)], dtype=numpy.int64)


def list_targets(dataset: Any) -> Any:
    """Return what a Dataset calls its targets; of a part of one those of its samples."""
    if isinstance(dataset, Subset):
        whole = dataset.dataset.dataset if isinstance(dataset.dataset, NamedDataset) else dataset.dataset
        known = list_targets(whole)
        try:
            return None if known is None else [known[index] for index in dataset.indices]
        except (IndexError, TypeError, KeyError):
            return None
    return getattr(dataset, "targets", None)


def _take(split: Split, places: NDArray[Any]) -> Split:
    """Return some samples of a split, in order."""
    if isinstance(split, tuple):
        chosen = torch.from_numpy(places).to(split[0].device)
        return split[0].index_select(0, chosen), split[1].index_select(0, chosen)
    if isinstance(split, NamedDataset) and isinstance(split.dataset, FilesDataset):
        return NamedDataset(split.dataset.take(places.tolist()), split.origin, len(places), split.guarded)
    return Subset(split, places.tolist())
