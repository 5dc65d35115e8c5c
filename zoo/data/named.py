"""Named: Datasets of plugins that know where they are from, so that their errors say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from zoo.display import say
from zoo.errors import DataError, quote, show
from zoo.registry.source import describe_fault

Guard = Callable[[str], AbstractContextManager[Any]]
"""Guards code of a plugin; the text says for a warning when it ran."""


@dataclass(frozen=True, kw_only=True)
class SplitOrigin:
    """Which split of which data set, and how many classes that has."""

    dataset: str
    split: str
    num_classes: int


class NamedDataset(Dataset[Any]):
    """A Dataset of a plugin that knows where it is from: what reading a sample raises becomes a DataError that says so.

    Its length was asked for once, and images are tensors `(C, H, W)`. `guarded` puts back what reading one changes of
    the global state.
    """

    def __init__(self, dataset: Dataset[Any], origin: SplitOrigin, samples: int, guarded: Guard = nullcontext) -> None:
        self.dataset, self.origin, self.samples, self.guarded = dataset, origin, samples, guarded

    def __repr__(self) -> str:
        return say("Dataset", f"{self.origin.split} split of {self.origin.dataset}", f"{self.samples:,} samples")

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Return image and target of a sample; raise DataError for whatever keeps them from being read."""
        try:
            with self.guarded("while a sample was read"):
                image, target = take_apart(self.dataset[index])
                return to_image(image), target
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            why = describe_failure(error, self.samples)
            where = f"dataset {quote(self.origin.dataset)}, {self.origin.split} split"
            raise DataError(f"{where}: sample {index} cannot be read", why) from error


class NamedStream(IterableDataset[Any]):
    """A stream of a plugin that knows where it is from, as a `NamedDataset` does; its samples come in one order only.

    Going through it reads it from its first sample on.
    """

    def __init__(
        self, dataset: IterableDataset[Any], origin: SplitOrigin, samples: int, guarded: Guard = nullcontext
    ) -> None:
        self.dataset, self.origin, self.samples, self.guarded = dataset, origin, samples, guarded

    def __repr__(self) -> str:
        return say("Stream", f"{self.origin.split} split of {self.origin.dataset}", f"{self.samples:,} samples")

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        """Yield image and target of each sample; raise DataError for whatever keeps one from being read."""
        samples: Iterator[Any] | None = None
        number = 0
        while True:
            try:
                with self.guarded("while a sample was read"):
                    samples = iter(self.dataset) if samples is None else samples
                    image, target = take_apart(next(samples))
                    image = to_image(image)
            except StopIteration:
                return
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                where = f"dataset {quote(self.origin.dataset)}, {self.origin.split} split"
                raise DataError(f"{where}: sample {number} cannot be read", describe_fault(error)) from error
            yield image, target
            number += 1


def describe_failure(error: BaseException, samples: int) -> str:
    """Return in words why a sample of a Dataset cannot be read that says it has so many."""
    told = f" (it says that it has {samples} samples)" if isinstance(error, IndexError) else ""
    return f"{describe_fault(error)}{told}"


def take_apart(sample: Any) -> tuple[Any, Any]:
    """Return the image and the target of a sample; raise TypeError where it is something else than two values."""
    if not isinstance(sample, Mapping):  # one of two keys would give these
        with suppress(TypeError, ValueError):
            image, target = sample
            return image, target
    if isinstance(sample, Mapping):
        raise TypeError(f"expected (image, target), got a {type(sample).__name__} with keys {show(list(sample))}")
    if isinstance(sample, tuple | list):
        raise TypeError(f"expected (image, target), got a {type(sample).__name__} of {len(sample)}")
    raise TypeError(f"expected (image, target), got {show(sample)}")


def to_image(image: Any) -> Tensor:
    """Return one image of a Dataset as a tensor `(C, H, W)`: PIL images as uint8, grey as one channel, others as RGB.

    Grey of 16 bits becomes uint16: Pillow's own conversion would cut off all that is brighter than 255.

    Raises:
        TypeError: it is neither a tensor nor a PIL image, or a PIL image of a mode without a range.
    """
    if isinstance(image, Tensor):
        return image.detach()
    if not hasattr(image, "getbands"):
        raise TypeError(f"expected a tensor or a PIL image, got {type(image).__name__}")
    import numpy

    if image.mode in ("I", "F"):
        raise TypeError(f"images of mode {image.mode!r} have no range")
    if image.mode.startswith("I;16"):
        return torch.from_numpy(numpy.array(image).astype(numpy.uint16)).unsqueeze(0)
    grey = image.mode in ("1", "L")
    pixels = torch.from_numpy(numpy.array(image.convert("L" if grey else "RGB")))
    return pixels.unsqueeze(0) if grey else pixels.permute(2, 0, 1)
