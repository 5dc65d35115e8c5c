"""Loader: the batches of a split for a training loop written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.augment import Augment, parse
from zoo.data.batch import Batches, BatchSettings
from zoo.data.batches import make_batches
from zoo.data.fitted import fit_split
from zoo.data.named import NamedDataset, NamedStream
from zoo.data.splits import check_split
from zoo.display import say
from zoo.limits import MAX_CLASSES
from zoo.registry.arguments import checked
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import resolve_config


class Loader:
    """Batches `(inputs, targets)` of a split: `len(loader)` is their number, `for` goes through one epoch.

    Each pass is the next epoch, in an order of its own where samples are shuffled. `epoch` is the number of the next
    one, from 0; to set it is to go to another.
    """

    def __init__(self, batches: Batches, settings: BatchSettings) -> None:
        self.batches, self.settings, self.epoch = batches, settings, 0

    @property
    def samples(self) -> int:
        """How many samples the split has."""
        return self.batches.samples

    @property
    def batch_size(self) -> int:
        """Samples of a batch; the last one may have fewer."""
        return self.settings.batch_size

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.batches.epoch(epoch)

    def __repr__(self) -> str:
        seed = self.settings.shuffle_seed
        order = "in order" if seed is None else f"shuffled by seed {seed}"
        return say("Loader", f"{len(self):,} batches of {self.batch_size}", order, f"next epoch {self.epoch}")


@checked
def make_loader(
    split: tuple[Tensor, Tensor] | Dataset[Any],
    *,
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 42,
    preprocess: Preprocess | None = None,
    workers: int = 0,
    augment: str | Sequence[Any] | Augment | None = None,
) -> Loader:
    """Return the batches of a split, in the place of `torch.utils.data.DataLoader`.

    A batch is `(inputs, targets)`: float32 `(batch_size, C, H, W)` and int64 `(batch_size,)`. Inputs are what
    `preprocess` makes of the raw images, without one what `torchvision.transforms.ToTensor` makes of them: uint8
    divided by 255, floats as they are. Give `preprocess=splits.preprocess` for what `zoo.run` trains on.

    With `shuffle` the batches are those of `zoo.run` with this seed, and of two hand-written loaders,
    `DataLoader(train, batch_size, shuffle=True)` and `DataLoader(test, batch_size)`, that a loop goes through in each
    epoch after `torch.manual_seed(seed)`. (torch draws once more for the second; a loop that never tests has another
    order from the second epoch on.) The order depends on nothing but `seed` and the epoch: torch's own random numbers
    are neither used nor changed. `workers` is the number of processes that read a Dataset. `augment` is what is done to
    the images in each epoch, `"flip,crop:padding=2"` say (see docs/reference/augmentation.md).

    Raises:
        SettingError: a batch size, seed or number of workers that cannot be, or a param of an augmentation.
        UsageError: an augmentation that is not known, or mixes targets.
        DataError: the split is neither tensors `(images, targets)` nor a Dataset; of a Dataset also while batches are
            read, with the sample that cannot be used.
        WorkerError: a process that reads the data died.
    """
    config = resolve_config({}, {"batch_size": batch_size, "seed": seed, "workers": workers})
    check_split("the split", split)
    preprocess = preprocess or Preprocess()
    if preprocess.rounded and not isinstance(split, tuple):
        split = fit_split(split, preprocess)
    named = split.origin if isinstance(split, NamedDataset | NamedStream) else None
    settings = BatchSettings(
        batch_size=config.batch_size,
        device=torch.device("cpu"),
        shuffle_seed=config.seed if shuffle else None,
        loader_seed=config.seed,
        workers=config.workers or 0,
        augment=None if augment is None else parse(augment),
    )
    batches = make_batches(
        split,
        preprocess,
        settings,
        name=named.dataset if named else type(split).__name__,
        num_classes=named.num_classes if named else MAX_CLASSES,
    )
    return Loader(batches, settings)
