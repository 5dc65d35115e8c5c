"""Samples: what the checks of a data set read of its splits, as runs read it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import gcd
from operator import index as to_index
from typing import Any

import torch
from torch import Tensor

from zoo.checks.base import Fault
from zoo.data.splits import Split, count_samples, to_image
from zoo.errors import describe

READ_SAMPLES, READ_SECONDS = 20_000, 10.0
"""How much of each split of a Dataset is read, spread over it; tensors are looked at whole."""

TWICE = 64
"""Samples of each split that are read again."""

Sample = tuple[bytes, int]
"""The digest of an image, and its target."""


@dataclass
class Samples:
    """What was read of a split: digests of its images, their shapes and dtypes, the targets, and how many there are."""

    total: int
    digests: list[bytes] = field(default_factory=list)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    dtypes: Counter[torch.dtype] = field(default_factory=Counter)
    targets: list[int] = field(default_factory=list)
    mirrored: list[Sequence[bytes]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every sample was read."""
        return len(self.digests) == self.total

    @property
    def share(self) -> str:
        """How much was read, in words."""
        return "all" if self.whole else f"{len(self.digests)} of {self.total}"


def read_split(name: str, split: Split, classes: int, where: str) -> Samples:
    """Read a split, or as much of a large Dataset as READ_SAMPLES and READ_SECONDS allow.

    Raises:
        Fault: a sample cannot be read or used.
    """
    samples = Samples(count_samples(split))
    if isinstance(split, tuple):
        images = split[0].detach().cpu()
        samples.digests = hash_images(images)
        if name != "train":
            samples.mirrored = list(zip(*(hash_images(images.flip(axes)) for axes in _mirrors(images[0])), strict=True))
        samples.shapes[tuple(images.shape[1:])] += samples.total
        samples.dtypes[images.dtype] += samples.total
        samples.targets = split[1].tolist()
        return samples
    started = time.perf_counter()
    for place in spread(samples.total, READ_SAMPLES):
        image, target = read_sample(split, place, f"{name} sample {place}", where)
        if not 0 <= target < classes:
            fix = "Give targets from 0 to len(class_names) - 1"
            raise Fault(f"{name} sample {place}: target {target} is outside 0..{classes - 1}", fix, where)
        if image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise Fault(f"{name} sample {place} has values that are not finite", "Mend the data", where)
        samples.digests.append(hash_image(image))
        if name != "train":
            samples.mirrored.append([hash_image(image.flip(axes)) for axes in _mirrors(image)])
        samples.shapes[tuple(image.shape)] += 1
        samples.dtypes[image.dtype] += 1
        samples.targets.append(target)
        if time.perf_counter() - started > READ_SECONDS:
            break
    return samples


def spread(total: int, most: int) -> Iterator[int]:
    """Yield up to `most` places, each once, so that any beginning of them lies evenly over the whole.

    Folders of classes lie one after another: what is read when the time is up must not be the first classes only.
    """
    step = max(1, round(total * 0.618))
    while gcd(step, total) != 1:
        step += 1
    for number in range(min(total, most)):
        yield number * step % total


def read_sample(split: Split, place: int, label: str, where: str = "") -> tuple[Tensor, int]:
    """Return the image and target at a place, as a run takes them.

    Raises:
        Fault: they cannot be read, or are of a form that no run takes.
    """
    if isinstance(split, tuple):
        return split[0][place], int(split[1][place])
    try:
        image, target = split[place]
    except Exception as error:
        fix = "Give (image, target) for each index from 0 to len - 1"
        raise Fault(f"{label}: {describe(error)}", fix, "" if _is_raised_inside(error) else where) from error
    try:
        number = to_index(target)
    except Exception as error:
        found = f"{target!r}".replace("\n", " ")[:60]
        raise Fault(f"{label}: expected an integer target, got {found}", "Give int(target)", where) from error
    try:
        return to_image(image), number
    except Exception as error:
        raise Fault(f"{label}: {describe(error)}", "Give a PIL image or a tensor (C, H, W)", where) from error


def _is_raised_inside(error: BaseException) -> bool:
    """Tell whether the data set's own code raised it, so that its line can be named."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


def read_places(split: Split, places: Sequence[int], label: str = "", where: str = "") -> list[Sample]:
    """Return the samples at some places, each looked at again after the next one was read.

    Raises:
        Fault: reading one sample changes another that was read before.
    """
    found: list[Sample] = []
    last: Tensor | None = None
    for place in places:
        image, target = read_sample(split, place, f"{label} sample {place}".strip(), where)
        if last is not None and hash_image(last) != found[-1][0]:
            before = places[len(found) - 1]
            seen = f"{label}: reading sample {place} changes the image of sample {before} that was read before it"
            raise Fault(seen, "Return a copy: image.clone()", where)
        found.append((hash_image(image), target))
        last = image
    return found


def choose_places(total: int) -> range:
    """Return TWICE places of a split, or all there are."""
    return range(0, total, max(1, total // TWICE))[:TWICE]


def hash_image(image: Tensor) -> bytes:
    """Return a digest of an image's content."""
    raw = image.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(raw.data, digest_size=16).digest()


def hash_images(images: Tensor) -> list[bytes]:
    """Return the digest of each image."""
    raw = images.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in raw]


def _mirrors(image: Tensor) -> list[Any]:
    """Return the axes to flip for the mirror images of a picture; small or flat things are none."""
    return [(-1,), (-2,), (-2, -1)] if image.ndim == 3 and min(image.shape[1:]) >= 8 else []
