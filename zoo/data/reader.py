"""Reader: whole batches of a Dataset, sample by sample and each one checked, in this process or in workers."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from operator import index as to_index
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.named import NamedDataset, NamedStream, describe_failure, take_apart, to_image
from zoo.data.splits import count_samples
from zoo.errors import DataError, describe, quote
from zoo.registry.imports import add_folders, list_folders

Batch = tuple[Tensor, Tensor]
"""Images `(N, C, H, W)` and targets `(N,)`."""
END = object()
"""What comes after the last sample of a stream."""


class Failure:
    """A sample that could not be read, as a value: an exception would arrive with a worker's whole traceback."""

    def __init__(self, sample: int, cause: str) -> None:
        self.sample, self.cause = sample, cause


class BatchReader(Dataset[Any]):
    """Reads whole batches of a Dataset: an index is a list of sample indices."""

    def __init__(
        self, dataset: Dataset[Any], name: str, num_classes: int, image_shape: tuple[int, ...] | None = None
    ) -> None:
        self.samples = count_samples(dataset)
        # Read directly: this is where each sample of a training comes from, and its errors are told here.
        self.dataset = dataset.dataset if isinstance(dataset, NamedDataset | NamedStream) else dataset
        self.name, self.num_classes, self.image_shape = name, num_classes, image_shape

    def __len__(self) -> int:
        return self.samples

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process needs that is not forked: the folders of single-file plugins before the data."""
        try:
            dataset = bytes(ForkingPickler.dumps(self.dataset))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fix = "Use workers=0, or define its class at the top level of its module"
            what = f"dataset {quote(self.name)} cannot be sent to a worker process"
            raise DataError(what, describe(error), fix) from error
        return {**self.__dict__, "dataset": dataset, "folders": list_folders()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        add_folders(state.pop("folders"))
        self.__dict__.update(state, dataset=ForkingPickler.loads(state["dataset"]))

    def __getitem__(self, indices: list[int]) -> Batch | Failure:
        images: list[Tensor] = []
        targets: list[int] = []
        for index in indices:
            try:
                self._add(self.dataset[index], images, targets)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 even SystemExit, which would end a worker without a word
                return Failure(index, describe_failure(error, self.samples))
        if not images:  # the part of a rank, of a batch with fewer samples than there are ranks
            return torch.empty(0, *(self.image_shape or (0,)), dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
        return torch.stack(images), torch.tensor(targets, dtype=torch.int64)

    def read(self, samples: Iterator[Any], size: int, first: int) -> Batch | Failure | None:
        """Return the next `size` samples of a stream, or the rest of it; None where there is none.

        `first` is the number of the first of them.
        """
        images: list[Tensor] = []
        targets: list[int] = []
        for number in range(first, first + size):
            try:
                sample = next(samples, END)
                if sample is END:
                    break
                self._add(sample, images, targets)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 see above
                return Failure(number, describe(error))
        return (torch.stack(images), torch.tensor(targets, dtype=torch.int64)) if images else None

    def _add(self, sample: Any, images: list[Tensor], targets: list[int]) -> None:
        """Put image and target of a sample on these lists; raise TypeError or ValueError where they cannot be used."""
        image, target = take_apart(sample)
        image = to_image(image)
        first = images[0] if images else image
        _check_image(image, self.image_shape or tuple(first.shape), first.dtype)
        targets.append(check_target(target, self.num_classes))
        images.append(image)


def _check_image(image: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(image.shape) != shape:
        advice = " (for pictures of many sizes declare a Preprocess with resize and rounded=True)"
        sized = image.ndim == len(shape) == 3 and image.shape[0] == shape[0]
        raise ValueError(f"the image is {tuple(image.shape)}, expected {shape}{advice if sized else ''}")
    if image.dtype != dtype:
        raise ValueError(f"the image is of dtype {image.dtype}, those before it {dtype}")
    if image.is_complex():
        raise ValueError(f"expected an integer or float image, got {dtype}")
    if image.dtype.is_floating_point and not bool(torch.isfinite(image.to(torch.float32)).all()):
        raise ValueError("the image has values that are not finite")


def check_target(target: Any, num_classes: int) -> int:
    """Return a target as an index from 0 to `num_classes - 1`; raise TypeError or ValueError for any other."""
    try:
        number = to_index(target)
    except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 the object of a plugin may do anything
        raise TypeError(f"expected an integer target, got {_show(target)}") from None
    if not 0 <= number < num_classes:
        raise ValueError(f"target {number} is outside 0..{num_classes - 1}")
    return number


def _show(value: Any) -> str:
    try:
        return repr(value)
    except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 see above
        return type(value).__name__
