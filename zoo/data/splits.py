"""Splits: what a data set gives, its checks and its digest."""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from itertools import islice, pairwise
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from zoo.data.named import Guard, NamedDataset, NamedStream, SplitOrigin, to_image
from zoo.data.order import Grouped
from zoo.display import make_table, say
from zoo.errors import DataError, describe, quote
from zoo.registry.preprocess import Preprocess, default_scale, name_dtype

TensorSplit = tuple[Tensor, Tensor]
Split = TensorSplit | Dataset[Any]
"""A pair `(images, targets)` kept in memory, or a Dataset of `(image, target)`, map-style or a stream."""
LARGEST_INPUT = 20.0
"""Absolute value beyond which inputs were not divided: of bytes over 255 it is 1, of normalised ones 5 or so."""
LOOKED_AT = 256
"""Images of a split whose values are looked at."""
SPLIT_FORMS = "tensors (images, targets) or a Dataset that knows its length"


@dataclass(frozen=True, kw_only=True, repr=False)
class DataSplits:
    """What a data set factory gives.

    A split is a pair of tensors, images `(N, C, H, W)` (uint8 or float) and integer targets `(N,)` from 0 to
    `len(class_names) - 1`; or any map-style Dataset of `(image, target)` with a PIL image or a tensor `(C, H, W)`.
    Tensors are the fast form, kept in memory; a Dataset is read sample by sample, by `--workers` processes.

    A split may be a stream too, an `IterableDataset` of such samples whose length it declares, or the spec. In an epoch
    it gives as many; in a worker process its part of them, see `torch.utils.data.get_worker_info`. It shuffles by
    itself: before each epoch of a training its method `set_epoch(epoch)` or `set_epoch(epoch, seed)` is called, where
    it has one, with epochs from 0, and what it draws from the global generators follows from seed, epoch and worker.
    What is evaluated comes in the same order each time. What needs all samples at hand is refused.

    Fields:
        train: What the model learns from.
        test: What it is evaluated on.
        class_names: A name for each class, at least two, in the order of the targets.
        validation: A third split, for choosing between models.
        preprocess: How raw images become inputs, as data, so that it can be stored with the weights. None means
            `Preprocess()`: uint8 divided by 255, floats as they are.
    """

    train: Split
    test: Split
    class_names: Sequence[str]
    validation: Split | None = None
    preprocess: Preprocess | None = None

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class by its name, as data sets of torchvision have it."""
        return {name: index for index, name in enumerate(self.class_names)}

    def items(self) -> list[tuple[str, Split]]:
        """Return the splits that are there, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return [(name, split) for name, split in splits.items() if split is not None]

    def __repr__(self) -> str:
        told = [f"{name} {_describe_split(split)}" for name, split in self.items()]
        return say("DataSplits", *told, f"{len(self.class_names)} classes")

    def _repr_html_(self) -> str:
        rows = [(name, _describe_split(split)) for name, split in self.items()]
        return make_table([*rows, ("classes", ", ".join(map(str, self.class_names)))], ("split", "samples"))


def _describe_split(split: Split) -> str:
    """Return the number of samples of a split and, where they are tensors, the form of an image."""
    if not isinstance(split, tuple):
        return f"{len(split):,}" if isinstance(split, NamedDataset | NamedStream) else type(split).__name__
    images, targets = split
    return f"{len(targets):,} of {'x'.join(map(str, images.shape[1:]))} {name_dtype(images.dtype)}"


class FilesDataset(Dataset[Any], Grouped):
    """A Dataset of files of strangers, some of which may not be readable."""

    @property
    def digest(self) -> str | None:
        """A digest of all that it gives; None until each file was tried."""
        return None

    def take(self, places: Sequence[int]) -> Self:
        """Return a data set of some of the samples, in this order."""
        raise NotImplementedError

    def read_example(self) -> Tensor:
        """Return the first raw image `(C, H, W)` that can be read; raise DataError where none can."""
        raise NotImplementedError


def name_splits(name: str, splits: DataSplits, guarded: Guard = nullcontext) -> DataSplits:
    """Return checked splits whose Datasets tell their errors with the name of the data set, see NamedDataset."""
    classes = len(splits.class_names)
    named: dict[str, Any] = {}
    for split_name, split in splits.items():
        if not isinstance(split, tuple | NamedDataset | NamedStream):
            origin = SplitOrigin(dataset=name, split=split_name, num_classes=classes)
            form: Any = NamedStream if isinstance(split, IterableDataset) else NamedDataset
            named[split_name] = form(split, origin, count_samples(split), guarded)
    return replace(splits, **named)


def count_samples(split: Split, where: str = "a split") -> int:
    """Return the number of samples of a split; raise DataError where a Dataset does not tell it."""
    try:
        return len(split[1]) if isinstance(split, tuple) else len(split)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"{where}: its length is not known", describe(error), "Let __len__ return an int") from error


def copy_splits(name: str, splits: DataSplits) -> DataSplits:
    """Return what a factory gave as a plain DataSplits: a subclass of a plugin may answer otherwise each time.

    Raises:
        DataError: train or test is missing, class names are no texts, or preprocess is no Preprocess.
    """
    given = {part.name: getattr(splits, part.name) for part in fields(DataSplits)}
    where = f"dataset {quote(name)}"
    for split_name in ("train", "test"):
        if given[split_name] is None:
            raise DataError(f"{where}, {split_name} split", f"expected {SPLIT_FORMS}, got None")
    if not isinstance(given["preprocess"], Preprocess | None):
        raise DataError(f"{where}: preprocess", f"expected zoo.Preprocess, got {type(given['preprocess']).__name__}")
    return DataSplits(**{**given, "class_names": _read_class_names(where, given["class_names"])})


def _read_class_names(where: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, bytes | Mapping | Set) or not isinstance(names, Iterable):
        raise DataError(where, f"expected class names as a list of texts, got {type(names).__name__}")
    found = tuple(names)
    if not all(isinstance(each, str) for each in found):
        raise DataError(where, f"expected class names as texts, got {reprlib.repr(list(found))}")
    return tuple(str.__str__(each) for each in found)


def check_splits(name: str, splits: DataSplits) -> list[str]:
    """Check what can be checked without reading every sample of a Dataset; return warnings.

    `splits` are those of `copy_splits`. Tensor splits are checked whole: shapes, dtypes, finite values, range of the
    targets. A Dataset is checked sample by sample while it is read (see `zoo.data.reader`).

    Raises:
        DataError: names the data set, the split and the first bad sample.
    """
    classes = len(_read_class_names(f"dataset {quote(name)}", splits.class_names))
    if classes < 2:
        what = f"dataset {quote(name)} has {classes} class{'' if classes == 1 else 'es'}"
        raise DataError(what, "a classifier needs at least two")
    warnings = []
    for split_name, split in splits.items():
        where = f"dataset {quote(name)}, {split_name} split"
        check_split(where, split)
        if isinstance(split, tuple):
            warnings += _check_targets(where, split[1], splits.class_names)
            warnings += _check_units(where, split[0], splits.preprocess)
    shapes = {split_name: tuple(split[0].shape[1:]) for split_name, split in splits.items() if isinstance(split, tuple)}
    for (first, expected), (second, got) in pairwise(shapes.items()):
        if expected != got:
            raise DataError(f"dataset {quote(name)}", f"{first} images are {expected}, {second} images {got}")
    return warnings


def check_split(where: str, split: Any) -> None:
    """Raise DataError for what is no split of at least one sample."""
    if isinstance(split, tuple):
        _check_tensors(where, split)
    elif isinstance(split, IterableDataset) and not hasattr(type(split), "__len__"):
        what = f"{where}: a stream that does not say how many samples it gives"
        fix = "Give it a method __len__, or declare samples in the spec of the data set"
        raise DataError(what, f"expected an IterableDataset with a length, got {type(split).__name__}", fix)
    elif not all(hasattr(type(split), method) for method in ("__len__", "__getitem__")):
        raise DataError(where, f"expected {SPLIT_FORMS}, got {type(split).__name__}")
    elif isinstance(split, list) and len(split) == 2 and isinstance(split[0], Tensor):
        raise DataError(where, f"expected {SPLIT_FORMS}, got a list of two", "Give the tensors as a tuple")
    if count_samples(split, where) == 0:
        raise DataError(f"{where}: has no samples")


def _check_tensors(where: str, split: TensorSplit) -> None:
    if len(split) != 2 or not all(isinstance(part, Tensor) for part in split):
        why = f"expected two tensors (images, targets), got {[type(part).__name__ for part in split]}"
        raise DataError(where, why, "torch.as_tensor makes tensors of arrays and lists")
    images, targets = split
    if images.ndim < 2 or targets.ndim != 1 or len(targets) != len(images):
        shapes = f"images {tuple(images.shape)} and targets {tuple(targets.shape)}"
        one_hot = images.ndim > 1 and targets.ndim == 2 and len(targets) == len(images) and targets.shape[1] > 1
        fix = "Give the number of each image's class: targets.argmax(dim=1)" if one_hot else ""
        raise DataError(where, f"expected one target per image, got {shapes}", fix)
    if len(images) and not images[0].numel():
        raise DataError(where, f"expected samples with values, got images {tuple(images.shape)}")
    if images.is_complex():
        raise DataError(where, f"expected integer or float images, got {images.dtype}")
    # Images are checked as float32, which they become: a large float64 is infinite there.
    if images.dtype.is_floating_point and not bool(torch.isfinite(images.to(torch.float32)).all()):
        bad = int((~torch.isfinite(images.to(torch.float32).flatten(1))).any(dim=1).nonzero()[0])
        raise DataError(f"{where}: sample {bad} has values that are not finite")


def _check_targets(where: str, targets: Tensor, class_names: Sequence[str]) -> list[str]:
    if targets.dtype.is_floating_point or targets.is_complex() or targets.dtype == torch.bool:
        fix = "Targets are numbers of classes: targets.long()"
        raise DataError(where, f"expected integer targets, got {targets.dtype}", fix)
    targets = targets.to(torch.int64)
    outside = ((targets < 0) | (targets >= len(class_names))).nonzero()
    if len(outside):
        first = int(outside[0])
        raise DataError(f"{where}: target {int(targets[first])} at sample {first} is outside 0..{len(class_names) - 1}")
    seen = torch.bincount(targets, minlength=len(class_names))
    if int((seen > 0).sum()) == 1:
        only = class_names[int(seen.argmax())]
        raise DataError(f"{where}: only one class ({quote(only)})", fix="Give samples of at least two classes")
    return [f"{where}: class {quote(class_names[i])} has no samples" for i in (seen == 0).nonzero().flatten().tolist()]


def _check_units(where: str, images: Tensor, preprocess: Preprocess | None) -> list[str]:
    """Return a warning where the first float images look like bytes that nothing divides."""
    if preprocess is not None or not images.dtype.is_floating_point:
        return []
    largest = float(images[:LOOKED_AT].abs().max())
    if largest <= LARGEST_INPUT:
        return []
    fix = "divide them, give uint8 images, or declare Preprocess(scale=255)"
    return [f"{where}: float images reach {largest:.4g}, and models learn from inputs of about 1: {fix}"]


def read_image(split: Split, index: int) -> Tensor:
    """Return the raw image `(C, H, W)` of a sample; what a Dataset raises goes through."""
    return next(read_places(split, [index]))[0]


def read_places(split: Split, places: Sequence[int]) -> Iterator[tuple[Tensor, Any]]:
    """Yield raw image `(C, H, W)` and target of the samples at some places; what a Dataset raises goes through.

    A stream is read from its beginning to the last of the places, and the samples before it are held in memory.

    Raises:
        DataError: a stream ends before.
    """
    if isinstance(split, tuple):
        yield from ((split[0][place], int(split[1][place])) for place in places)
    elif isinstance(split, IterableDataset):
        wanted, found = set(places), dict[int, tuple[Tensor, Any]]()
        read = 0
        for place, (image, target) in enumerate(islice(split, max(wanted, default=-1) + 1)):
            read += 1
            if place in wanted:
                found[place] = to_image(image), target
        for place in places:
            if place not in found:
                name = f"dataset {quote(split.origin.dataset)}: " if isinstance(split, NamedStream) else ""
                told = f"its length says {count_samples(split):,}"
                raise DataError(
                    f"{name}a stream gave {read:,} samples",
                    told,
                    "Declare as many samples as it gives, and let each __iter__ begin anew",
                )
            yield found[place]
    else:
        for place in places:
            image, target = split[place]
            yield to_image(image), target


def read_example(split: Split) -> Tensor:
    """Return a raw image `(C, H, W)` of a split: the first, of picture files the first that can be read."""
    inner = split.dataset if isinstance(split, NamedDataset) else split
    return inner.read_example() if isinstance(inner, FilesDataset) else read_image(split, 0)


def find_input_shape(name: str, splits: DataSplits) -> tuple[int, ...]:
    """Return the shape of one raw image, channels first; a Dataset or a stream is asked for its first sample.

    Raises:
        DataError: the first sample cannot be read, or its dtype has no stated range.
    """
    image = read_example(name_splits(name, splits).train)
    if not image.ndim or not image.numel():
        why = f"expected at least one axis and one value, got a sample of {tuple(image.shape)}"
        raise DataError(f"dataset {quote(name)}", why)
    if splits.preprocess is None or splits.preprocess.scale is None:
        default_scale(image.dtype)
    return tuple(image.shape)


def hash_splits(splits: DataSplits) -> str | None:
    """Return the SHA-256 of everything a run computes from: dtypes, shapes and bytes of each split, class names.

    Of picture files that were tried the SHA-256 of each file stands for its pixels. None when a split is another
    Dataset: reading all of it once more would cost as much as an epoch.
    """
    digest = hashlib.sha256()
    for name in splits.class_names:
        digest.update(f"{len(name)}:{name}".encode())
    for split_name, split in splits.items():
        inner = split.dataset if isinstance(split, NamedDataset) else split
        if isinstance(inner, FilesDataset) and inner.digest is not None:
            digest.update(f"{split_name} {inner.digest}".encode())
            continue
        if not isinstance(split, tuple):
            return None
        for part in split:
            digest.update(f"{split_name} {part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
