"""Description: what a data set holds, found by loading it, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from zoo.data.fitted import fit_splits
from zoo.data.loading import open_dataset
from zoo.data.order import split_sizes
from zoo.data.reader import BatchReader, Failure
from zoo.data.shards import find_shards
from zoo.data.splits import Split, count_samples, find_input_shape
from zoo.data.survey import find_files
from zoo.display import align, make_table
from zoo.errors import DataError, one_line, quote
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import resolve_config

READ_AT_ONCE = 64
"""Samples of a Dataset that are read together."""


@dataclass(frozen=True, kw_only=True)
class SplitDescription:
    """A split: its samples, how many there are of each class, its batches, and the shapes of the first one.

    Of a stream nobody knows how many there are of each class until it was read: `per_class` is None.
    """

    samples: int
    per_class: tuple[int, ...] | None
    batches: int
    batch_size: int
    inputs: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class DatasetDescription:
    """What a data set holds: its class names and, by name, its splits."""

    dataset: str
    class_names: tuple[str, ...]
    splits: dict[str, SplitDescription]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The samples of each class and split as texts, under headings; numbers are as wide as their column."""
        rows: list[tuple[str, ...]] = [("class", *self.splits)]
        for index, name in enumerate(self.class_names):
            counts = ("?" if split.per_class is None else str(split.per_class[index]) for split in self.splits.values())
            rows.append((f"{index} {one_line(name)}", *counts))
        rows.append(("all", *(str(split.samples) for split in self.splits.values())))
        width = max(len(cell) for row in rows for cell in row[1:])
        return [(first, *(cell.rjust(width) for cell in cells)) for first, *cells in rows]

    @property
    def batches(self) -> list[str]:
        """A line for each split: how many batches of what shape."""
        lines = []
        for name, split in self.splits.items():
            number = f"{split.batches} batch{'' if split.batches == 1 else 'es'} of {split.batch_size}"
            stream = ", a stream, whose classes are not counted" if split.per_class is None else ""
            lines.append(f"{name}: {number}, inputs {list(split.inputs)}, targets {list(split.targets)}{stream}")
        return lines

    def __repr__(self) -> str:
        return "\n".join([align(self.rows, "  "), *(f"  {line}" for line in self.batches)])

    def _repr_html_(self) -> str:
        table = make_table(self.rows[1:], self.rows[0], caption=self.dataset, most=1000)
        return table + make_table([(line,) for line in self.batches])


@checked
def describe_dataset(
    dataset: str,
    *,
    dataset_params: Mapping[str, Any] | None = None,
    batch_size: int | str = 32,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> DatasetDescription:
    """Load a data set and count its samples by class; inputs are `(N, C, H, W)` as its own preprocessing makes them.

    Raises:
        UnknownNameError, UsageError: no such data set, or a param or batch size it cannot have.
        DataError, DownloadError, PluginError: the data cannot be had or used.
    """
    size = resolve_config({}, {"batch_size": batch_size}).batch_size
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline)
    entry, splits = open_dataset(dataset, dataset_params, places)
    declared = splits.preprocess or Preprocess()
    splits, raw_shape = fit_splits(splits, declared, find_input_shape(entry.name, splits))
    described = {}
    for name, split in splits.items():
        sizes = split_sizes(count_samples(split), size)
        described[name] = SplitDescription(
            samples=count_samples(split),
            per_class=_count_classes(split, entry.name, len(splits.class_names), raw_shape),
            batches=len(sizes),
            batch_size=size,
            inputs=(sizes[0], *declared.output_shape(raw_shape)),
            targets=(sizes[0],),
        )
    return DatasetDescription(dataset=entry.name, class_names=tuple(splits.class_names), splits=described)


def _count_classes(split: Split, name: str, num_classes: int, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return how many samples of each class a split has, None for a stream."""
    if isinstance(split, IterableDataset):
        return None
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for targets in _read_targets(split, name, num_classes, shape):
        counts += torch.bincount(targets.to(torch.int64), minlength=num_classes)
    return tuple(counts.tolist())


def _read_targets(split: Split, name: str, num_classes: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield the targets of a split, some at a time."""
    if isinstance(split, tuple):
        yield split[1]
        return
    if (listed := find_files(split) or find_shards(split)) is not None:
        yield torch.as_tensor(listed.targets, dtype=torch.int64)
        return
    reader = BatchReader(split, name, num_classes, shape)
    for indices in torch.arange(len(reader)).split(READ_AT_ONCE):
        batch = reader[indices.tolist()]
        if isinstance(batch, Failure):
            raise DataError(f"dataset {quote(name)}: sample {batch.sample}", batch.cause)
        yield batch[1]
