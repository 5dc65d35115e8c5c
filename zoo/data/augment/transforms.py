"""Transforms: those of torchvision by name, each image under a seed of its own.

They run image by image on the CPU, which is slower than the operations of a batch and gives the same pixels on every
machine with the same torchvision, whatever the device is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy
import torch
from torch import Tensor

from zoo.data.augment.operations import Operation, check_images, read_params
from zoo.errors import DataError, SettingError, UnknownNameError, describe, suggest
from zoo.registry.params import find_expected
from zoo.registry.preprocess import name_dtype
from zoo.registry.setting import write_operation

LEFT_OUT = ("MixUp", "CutMix", "Transform")
"""Classes of torchvision that are no transforms of one image; the first two mix the images of a batch."""


@dataclass(frozen=True)
class Transform(Operation):
    """A transform of `torchvision.transforms.v2` that keeps the shape and the dtype of an image, by its name.

    Its numbers come from the global generators of torch, Python and numpy, which are seeded from the hash for each
    image and get back what they were.

    Fields:
        name: The name of its class, `RandomRotation`.
        params: Its arguments by name; text is converted. Those left out keep torchvision's defaults.

    Raises:
        UnknownNameError: torchvision has no such transform.
        SettingError, UnknownSettingError, SeveralErrors: it has no such argument, or refuses a value.
    """

    name: str  # type: ignore[misc]
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    count: ClassVar[int] = 1

    def __post_init__(self) -> None:
        known = _list_transforms()
        if self.name not in known:
            raise make_unknown(self.name, tuple(known))
        factory = known[self.name]
        expected, _ = find_expected(factory)
        given = {name: _read_literal(value) for name, value in self.params.items()}
        values = read_params(expected, given, self.name)
        try:
            transform = factory(**values)
        except (TypeError, ValueError) as error:
            raise SettingError(self.name, f"torchvision refuses the params ({describe(error)})") from error
        object.__setattr__(self, "params", {name: values[name] for name in given})
        object.__setattr__(self, "_transform", transform)

    def __str__(self) -> str:
        """Return the text that `zoo.augment.parse` reads as the same."""
        return write_operation(self.name, self.params)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the images, each transformed on the CPU under its own seed.

        Raises:
            DataError: the transform fails, or gives another shape or dtype.
        """
        check_images(images, self.name)
        changed = torch.empty_like(images, device="cpu")
        with _generators() as seed_all:
            for place, (image, seed) in enumerate(zip(images.cpu(), numbers[:, 0].tolist(), strict=True)):
                seed_all(seed)
                # A copy: a transform may work in place, or give back what it got.
                changed[place] = self._transform_one(image.clone())
        return changed.to(images.device)

    def _transform_one(self, image: Tensor) -> Tensor:
        try:
            changed = self._transform(image)  # type: ignore[attr-defined]
        except Exception as error:
            what = f"{self.name} fails on an image {tuple(image.shape)} of {name_dtype(image.dtype)}"
            raise DataError(what, describe(error)) from error
        if not isinstance(changed, Tensor) or changed.shape != image.shape or changed.dtype != image.dtype:
            got = (
                f"{tuple(changed.shape)} of {name_dtype(changed.dtype)}"
                if isinstance(changed, Tensor)
                else type(changed).__name__
            )
            what = f"{self.name} cannot augment images {tuple(image.shape)} of {name_dtype(image.dtype)}"
            raise DataError(what, f"it gives {got}; shape and dtype must stay")
        return changed


def list_names() -> tuple[str, ...]:
    """Return the names of torchvision's transforms."""
    return tuple(_list_transforms())


def make_unknown(name: str, known: tuple[str, ...]) -> UnknownNameError:
    """Return the error about a name that no operation has."""
    fix = suggest(
        name, known, "Known: flip, crop, erase, mixup, cutmix and the transforms of torchvision.transforms.v2"
    )
    return UnknownNameError("augmentation", name, known, fix=fix)


def _list_transforms() -> dict[str, Any]:
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    found = {name: getattr(v2, name) for name in dir(v2)}
    return {
        name: one
        for name, one in found.items()
        if isinstance(one, type) and issubclass(one, v2.Transform) and name not in LEFT_OUT
    }


def _read_literal(value: Any) -> Any:
    """Return what text means: a number, true, false, null, a list; several of them with commas between; or the text."""
    if not isinstance(value, str):
        return value
    for text in (value, f"[{value}]" if "," in value else value):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return value


@contextmanager
def _generators() -> Iterator[Any]:
    """Give a function that seeds the global generators on the CPU, and put them back to what they were."""

    def seed_all(seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(seed)

    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    try:
        yield seed_all
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        numpy.random.set_state(states[2])
