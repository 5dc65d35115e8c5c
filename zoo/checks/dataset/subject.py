"""The data set that is checked, and what the checks read of its splits, in the same way as runs do."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import index as to_index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from zoo.checks.base import Fault
from zoo.checks.settings import keep_settings
from zoo.checks.source import find_definition
from zoo.checks.subject import EntrySubject
from zoo.data.loading import build_dataset
from zoo.data.named import to_image
from zoo.data.reader import END
from zoo.data.splits import DataSplits, Split, count_samples
from zoo.errors import describe
from zoo.models.device import use_seed
from zoo.registry.specs import DatasetSpec

READ_SAMPLES, READ_SECONDS = 20_000, 10.0
"""Limits of reading a split of a Dataset: samples, and seconds. Tensors are read whole."""

REREAD = 64
"""Samples of each split that are read again."""

Sample = tuple[bytes, int]
"""The digest of an image, and its target."""

MirrorDigest = tuple[bytes, bool]
"""A digest that an image shares with its left-right mirror image, and which of the two the image is."""


@dataclass
class Samples:
    """What was read of a split, of `total` samples: digests, shapes and dtypes of its images, and the targets."""

    total: int
    digests: list[MirrorDigest] = field(default_factory=list)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    dtypes: Counter[torch.dtype] = field(default_factory=Counter)
    targets: list[int] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every sample was read."""
        return len(self.digests) == self.total

    @property
    def share(self) -> str:
        """How much was read, in words."""
        return "all" if self.whole else f"{len(self.digests)} of {self.total}"


@dataclass(kw_only=True)
class DatasetSubject(EntrySubject[DatasetSpec]):
    """A data set to check, and the folder of its files."""

    root: Path
    offline: bool = False
    read: dict[str, Samples] = field(default_factory=dict)
    """What was read of each split."""
    steady: bool = False
    """Whether its samples are the same when they are read again; check_same finds out."""

    def build(self, seed: int = 0) -> DataSplits:
        """Build the data set; settings of the process stay as they are."""
        with use_seed(seed), keep_settings():
            return build_dataset(self.entry, root=self.root, params=self.params)

    @cached_property
    def splits(self) -> DataSplits:
        """The splits, built once."""
        return self.build()

    def locate(self, split: Split) -> str:
        """Return `file:line` of a split's class, or of the factory."""
        return (not isinstance(split, tuple) and find_definition(type(split))) or self.definition


def read_split(name: str, split: Split, classes: int, where: str) -> Samples:
    """Read a split, or as much of a large Dataset as READ_SAMPLES and READ_SECONDS allow.

    Raises:
        Fault: a sample cannot be read or used.
    """
    samples = Samples(count_samples(split))
    if isinstance(split, tuple):
        images = split[0].detach().cpu()
        samples.digests = _hash_with_mirrors(images)
        samples.shapes[tuple(images.shape[1:])] += samples.total
        samples.dtypes[images.dtype] += samples.total
        samples.targets = split[1].tolist()
        return samples
    started = time.perf_counter()
    # At random, because samples are often sorted by class, and the time may be up before all were read. Of a stream one
    # more than it declares: there must be none.
    places: Sequence[int] = range(min(samples.total + 1, READ_SAMPLES))
    if not isinstance(split, IterableDataset):
        places = random.Random(0).sample(range(samples.total), min(samples.total, READ_SAMPLES))
    for place, image, target in read_samples(split, places, name, where):
        if not 0 <= target < classes:
            fix = "Give targets from 0 to len(class_names) - 1"
            raise Fault(f"{name} sample {place}: target {target} is outside 0..{classes - 1}", fix, where)
        if image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise Fault(f"{name} sample {place} has values that are not finite", "Mend the data", where)
        samples.digests += _hash_with_mirrors(image.unsqueeze(0))
        samples.shapes[tuple(image.shape)] += 1
        samples.dtypes[image.dtype] += 1
        samples.targets.append(target)
        if time.perf_counter() - started > READ_SECONDS:
            break
    else:
        if isinstance(split, IterableDataset) and len(samples.digests) != min(samples.total, READ_SAMPLES):
            got = f"{len(samples.digests)}{' or more' if len(samples.digests) > samples.total else ''}"
            seen = f"{name}: the stream gives {got} samples, its length says {samples.total}"
            raise Fault(seen, "Declare as many samples as it gives", where)
    return samples


def read_samples(
    split: Split, places: Sequence[int], name: str = "", where: str = ""
) -> Iterator[tuple[int, Tensor, int]]:
    """Yield the samples at some places, each with its place, as `read_sample` does; those of a stream as they come.

    A stream may end before the last of the places.
    """
    if not isinstance(split, IterableDataset):
        yield from ((place, *read_sample(split, place, f"{name} sample {place}".strip(), where)) for place in places)
        return
    samples, last = iter(split), max(places, default=-1)
    for place in range(last + 1):
        label = f"{name} sample {place}".strip()
        try:
            sample = next(samples, END)
        except Exception as error:
            raise _blame(label, error, "Let __iter__ yield (image, target)", where) from error
        if sample is END:
            return
        if place in places:
            yield place, *_read_pair(sample, label, where)


def read_sample(split: Split, place: int, label: str, where: str = "") -> tuple[Tensor, int]:
    """Return the image and target at a place, as a run reads them; raise Fault where no run could take them."""
    if isinstance(split, tuple):
        return split[0][place], int(split[1][place])
    if isinstance(split, IterableDataset):
        for _, image, number in read_samples(split, [place], label.partition(" ")[0], where):
            return image, number
        raise Fault(f"{label}: the stream ended before", "Declare as many samples as it gives", where)
    try:
        sample = split[place]
    except Exception as error:
        raise _blame(label, error, "Give (image, target) for each index from 0 to len - 1", where) from error
    return _read_pair(sample, label, where)


def _blame(label: str, error: Exception, fix: str, where: str) -> Fault:
    trace = error.__traceback__
    raised_inside = trace is not None and trace.tb_next is not None  # then the line of the error is known
    return Fault(f"{label}: {describe(error)}", fix, "" if raised_inside else where)


def _read_pair(sample: Any, label: str, where: str) -> tuple[Tensor, int]:
    """Return image and target of a sample, as a run takes them."""
    try:
        image, target = sample
    except Exception as error:
        raise Fault(f"{label}: {describe(error)}", "Give (image, target)", where) from error
    try:
        number = to_index(target)
    except Exception as error:
        found = f"{target!r}".replace("\n", " ")[:60]
        raise Fault(f"{label}: expected an integer target, got {found}", "Give int(target)", where) from error
    try:
        return to_image(image), number
    except Exception as error:
        raise Fault(f"{label}: {describe(error)}", "Give a PIL image or a tensor (C, H, W)", where) from error


def read_places(split: Split, places: Sequence[int], label: str = "", where: str = "") -> list[Sample]:
    """Return the samples at some places; each image is compared again after the next sample was read.

    Raises:
        Fault: reading one sample changes another that was read before.
    """
    found: dict[int, Sample] = {}
    previous: tuple[int, Tensor] | None = None
    for place, image, target in read_samples(split, places, label, where):
        if previous is not None and hash_image(previous[1]) != found[previous[0]][0]:
            seen = f"{label}: reading sample {place} changes the image of sample {previous[0]} that was read before it"
            raise Fault(seen, "Return a copy: image.clone()", where)
        found[place] = hash_image(image), target
        previous = place, image
    if missing := [place for place in places if place not in found]:
        raise Fault(
            f"{label}: the stream ended before sample {missing[0]}", "Declare as many samples as it gives", where
        )
    return [found[place] for place in places]


def choose_places(split: Split) -> range:
    """Return REREAD places of a split, evenly spaced, or all there are; of a stream the first ones."""
    total = count_samples(split)
    if isinstance(split, IterableDataset):
        return range(min(total, REREAD))
    return range(0, total, max(1, total // REREAD))[:REREAD]


def find_last(split: Split) -> int:
    """Return the last place of a split that can be read at once: of a stream the first one."""
    return 0 if isinstance(split, IterableDataset) else count_samples(split) - 1


def hash_image(image: Tensor) -> bytes:
    """Return a digest of an image's values."""
    return _hash(next(_list_bytes(image.unsqueeze(0))))


def _hash_with_mirrors(images: Tensor) -> list[MirrorDigest]:
    """Return a digest of each image; inputs under 8 x 8 count as their own mirror images, since they may look alike."""
    pictures = images.ndim == 4 and min(images.shape[2:]) >= 8
    mirrors = images.flip(-1) if pictures else images
    pairs = zip(_list_bytes(images), _list_bytes(mirrors), strict=True)
    return [(_hash(min(content, mirror)), mirror < content) for content, mirror in pairs]


def _list_bytes(images: Tensor) -> Iterator[bytes]:
    for row in images.detach().cpu().reshape(len(images), -1).contiguous().view(torch.uint8).numpy():
        yield row.tobytes()


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
