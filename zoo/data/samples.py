"""Samples: raw images of a data set with the names of their classes, to be looked at before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from zoo.data.augment import Augment, parse
from zoo.data.loading import open_dataset
from zoo.data.pictures import make_address
from zoo.data.reader import check_target
from zoo.data.splits import count_samples, read_places
from zoo.display import make_pictures, make_table, say
from zoo.errors import DataError, SettingError, UsageError, quote, suggest
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.registry.preprocess import name_dtype

MAX_PICTURES = 64
"""Images that a notebook shows at most."""
DEFAULT_AUGMENT = "flip,crop"
"""The operations that are shown where none are named."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Samples:
    """Some samples of a split: `images` are raw, `(C, H, W)` for pictures; `labels` are the names of the classes.

    `augmented` are the images as a training has them in its first epoch, where that was asked for.
    """

    dataset: str
    split: str
    indices: tuple[int, ...]
    images: tuple[Tensor, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]
    augmented: tuple[Tensor, ...] = ()

    def describe(self) -> list[dict[str, Any]]:
        """Return index, target, label, shape, dtype and the least and largest value of each image, as plain data."""
        return [
            {
                "index": index,
                "target": target,
                "label": label,
                "shape": list(image.shape),
                "dtype": name_dtype(image.dtype),
                # numpy finds the extremes, because torch has none for uint16.
                "min": image.numpy().min().item(),
                "max": image.numpy().max().item(),
            }
            for index, target, label, image in zip(self.indices, self.targets, self.labels, self.images, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        names = ", ".join(self.labels[:3]) + (" ..." if len(self) > 3 else "")
        return say("Samples", f"{len(self)} of {self.dataset}, split {self.split}: {names}")

    def _repr_html_(self) -> str:
        caption = f"{self.dataset}, {self.split}"
        addresses = [make_address(image) for image in self.images[:MAX_PICTURES]]
        shown = [(address, label) for address, label in zip(addresses, self.labels, strict=False) if address]
        if shown:
            return make_pictures(shown, caption=caption)
        rows = [tuple(sample.values()) for sample in self.describe()]
        return make_table(rows, ("index", "target", "class", "shape", "dtype", "min", "max"), caption=caption)


@checked
def samples(
    dataset: str,
    *,
    split: str = "train",
    index: int | None = None,
    count: int = 16,
    seed: int = 42,
    augmented: bool = False,
    augment: str | Sequence[Any] | Augment | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Samples:
    """Return the sample of this index, else `count` different ones that `seed` chooses, or all where there are fewer.

    Of a stream they are the first ones, and the sample of an index takes as long as all before it.

    With `augmented` each is also given as the first epoch of a training with this seed has it. `augment` are the
    operations, `"flip,crop"` unless others are named; to name them is enough.

    Raises:
        UnknownNameError, UsageError: no such data set, split, sample or operation, or a param it cannot have.
        DataError, DownloadError, PluginError: the data cannot be had or used.
    """
    if count < 1:
        raise SettingError("count", "must be at least 1", count)
    operations = parse(DEFAULT_AUGMENT if augment is None else augment) if augmented or augment is not None else None
    if operations is not None and operations.mixing is not None:
        what = f"augmentation {quote(operations.mixing.name)} mixes two samples"
        raise UsageError(what, "samples are shown one by one", "Leave it out")
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline)
    entry, splits = open_dataset(dataset, dataset_params, places)
    there = dict(splits.items())
    if split not in there:
        fix = suggest(split, there, f"It has: {', '.join(there)}")
        raise UsageError(f"dataset {quote(entry.name)} has no split {quote(split)}", fix=fix)
    total = count_samples(there[split])
    if index is not None and not 0 <= index < total:
        what = f"the {split} split of {quote(entry.name)} has no sample {index}"
        raise UsageError(what, f"it has {total} samples, 0 to {total - 1}")
    if index is not None:
        indices = [index]
    elif isinstance(there[split], IterableDataset):  # those in the middle would take as long as all before them
        indices = list(range(min(total, count)))
    else:
        indices = choose_samples(total, count, seed)
    found = list(read_places(there[split], indices))
    try:
        targets = tuple(check_target(target, len(splits.class_names)) for _, target in found)
    except (TypeError, ValueError) as error:
        raise DataError(f"dataset {quote(entry.name)}", str(error)) from None
    images = tuple(image for image, _ in found)
    changed: tuple[Tensor, ...] = ()
    if operations is not None:
        pairs = zip(images, indices, strict=True)
        changed = tuple(operations(image[None], [number], seed=seed)[0] for image, number in pairs)
    return Samples(
        dataset=entry.name,
        split=split,
        indices=tuple(indices),
        images=images,
        targets=targets,
        labels=tuple(splits.class_names[target] for target in targets),
        augmented=changed,
    )


load_samples = samples
"""The name of `samples` before each command had a function of its own name."""


def choose_samples(total: int, count: int, seed: int) -> list[int]:
    """Return `count` different indices below `total`, or all where there are fewer, drawn with the seed."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].tolist()
