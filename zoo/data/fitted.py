"""Fitted: data sets whose images differ in size, each image brought to one shape when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from zoo.data.files import TriedFiles
from zoo.data.images import check_resize
from zoo.data.named import NamedDataset, NamedStream, take_apart, to_image
from zoo.data.order import Grouped, Groups
from zoo.data.splits import DataSplits, Split
from zoo.data.streams import announce_epoch
from zoo.data.validation import list_targets
from zoo.registry.preprocess import Preprocess

Shape = tuple[int, ...]

AT_ONCE = 64
"""Images in memory that are resized at once."""


class FittedDataset(Dataset[Any], Grouped):
    """A Dataset whose images are resized when they are read, as `Preprocess.fit` does; its targets stay."""

    def __init__(self, dataset: Dataset[Any], preprocess: Preprocess) -> None:
        self.dataset, self.preprocess = dataset, preprocess

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, target = take_apart(self.dataset[index])
        return fit_image_alone(to_image(image), self.preprocess), target

    def list_groups(self) -> Groups | None:
        """Return those of the Dataset."""
        return self.dataset.list_groups() if isinstance(self.dataset, Grouped) else None

    @property
    def targets(self) -> Any:
        """What the Dataset calls its targets, None where it lists none."""
        return list_targets(self.dataset)


class FittedStream(IterableDataset[Any]):
    """A stream whose images are resized when they are read, as those of a `FittedDataset` are."""

    def __init__(self, dataset: IterableDataset[Any], preprocess: Preprocess) -> None:
        self.dataset, self.preprocess = dataset, preprocess

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        for image, target in map(take_apart, self.dataset):
            yield fit_image_alone(to_image(image), self.preprocess), target

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Hand on which epoch is to be read."""
        announce_epoch(self.dataset, epoch, seed)


def fit_image_alone(image: Tensor, preprocess: Preprocess) -> Tensor:
    """Return a raw image `(C, H, W)` resized and cut; raise DataError where that would take too much memory."""
    if preprocess.fitted_shape(image.shape) == tuple(image.shape):
        return image
    check_resize(preprocess, image.shape)
    return preprocess.fit(image.unsqueeze(0)).squeeze(0)


def fit_splits(splits: DataSplits, preprocess: Preprocess, shape: Shape) -> tuple[DataSplits, Shape]:
    """Return splits whose raw images are all of one shape, and that shape, where preprocess is `rounded`.

    It makes the same inputs of them as of the images themselves. Other splits stay as they are, with their `shape`.
    """
    if not preprocess.rounded or all(isinstance(split, tuple) for _, split in splits.items()):
        return splits, shape
    fitted: dict[str, Any] = {name: fit_split(split, preprocess) for name, split in splits.items()}
    return replace(splits, **fitted), preprocess.fitted_shape(shape)


def fit_split(split: Split, preprocess: Preprocess) -> Split:
    """Return one split whose raw images are all of `preprocess.fitted_shape`; pictures kept decoded become tensors."""
    inner = split.dataset if isinstance(split, NamedDataset) else split
    if isinstance(inner, TriedFiles) and (kept := inner.to_tensors(preprocess)) is not None:
        return kept
    if isinstance(split, tuple):
        return torch.cat([preprocess.fit(part) for part in split[0].split(AT_ONCE)]), split[1]
    if isinstance(split, NamedDataset):  # the name belongs outside, where errors are told
        return NamedDataset(FittedDataset(split.dataset, preprocess), split.origin, split.samples, split.guarded)
    if isinstance(split, NamedStream):
        return NamedStream(FittedStream(split.dataset, preprocess), split.origin, split.samples, split.guarded)
    return FittedStream(split, preprocess) if isinstance(split, IterableDataset) else FittedDataset(split, preprocess)
