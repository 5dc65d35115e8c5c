"""Operations: what is done to a batch of images, each with params that are checked and numbers that are drawn for it.

Flip, crop and erase move and replace whole pixels by index arithmetic, so every device gives the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.data.augment.draws import draw, place, to_below, to_coin
from zoo.errors import DataError, SettingError, SeveralErrors, UnknownSettingError, ZooError
from zoo.registry.params import Expected, find_expected, read_values
from zoo.registry.preprocess import name_dtype
from zoo.registry.setting import write_operation

LEVELS = 128
"""Levels of the area and of the ratio between the sides of an erased rectangle."""
MAX_PADDING = 2**20
"""Pixels of padding, as many as the longest side of an image has."""


def param(default: Any, check: Callable[[Any, Mapping[str, Any]], None] | None = None, **limits: float) -> Any:
    """Declare a param as a field of an operation; the keywords are its limits, as `zoo.registry.params` has them."""
    return field(default=default, metadata={Expected: {"check": check, "limits": limits}})


def _check_ends(value: Any, others: Mapping[str, Any]) -> None:
    if not 0 < value[0] <= value[1]:
        raise ValueError("must be two numbers above 0, the smaller first")


def _check_shares(value: Any, others: Mapping[str, Any]) -> None:
    _check_ends(value, others)
    if value[1] > 1:
        raise ValueError("must be two shares of the image, at most 1")


class Parametrized:
    """A frozen dataclass with a name, whose fields are params: checked, and text converted, when it is made.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once, each with the name.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        given = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        for name, value in self.read(given).items():
            object.__setattr__(self, name, value)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all params: the given ones checked and converted, or the defaults."""
        expected, _ = find_expected(cls)
        declared = {one.name: one.metadata.get(Expected, {}) for one in fields(cls)}  # type: ignore[arg-type]
        expected = {name: replace(one, **declared[name]) for name, one in expected.items()}
        return read_params(expected, given, cls.name)

    def __str__(self) -> str:
        """Return the text that `zoo.augment.parse` reads as the same."""
        values = {one.name: (getattr(self, one.name), one.default) for one in fields(self)}  # type: ignore[arg-type]
        return write_operation(
            self.name, {name: value for name, (value, default) in values.items() if value != default}
        )


def read_params(expected: Mapping[str, Expected], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the values of an operation's params; errors name the operation as the command line does, `crop:padding`.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors.
    """
    try:
        return read_values(expected, given, where=f"augmentation {name!r}")
    except ZooError as error:
        problems = [_name_operation(problem, name) for problem in error.problems]
        raise problems[0] if len(problems) == 1 else SeveralErrors(problems) from error


def _name_operation(problem: ZooError, name: str) -> ZooError:
    if isinstance(problem, UnknownSettingError) or not isinstance(problem, SettingError):
        return problem
    return SettingError(f"{name}:{problem.name}", problem.expected, problem.got, problem.fix)


@dataclass(frozen=True)
class Operation(Parametrized):
    """Something done to a batch of images. One of your own is a frozen dataclass with `name`, `count` and `apply`.

    Class attributes:
        name: What it is called; its numbers are drawn by this name.
        count: Numbers that are drawn for each image.
    """

    count: ClassVar[int]

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return changed images `(N, C, H, W)` of the same dtype, by numbers `(N, count)`; those given stay."""
        raise NotImplementedError

    def __call__(self, images: Tensor, indices: Tensor, epoch: int = 0, seed: int = 42) -> Tensor:
        """Return the images of the samples `indices` as they are in an epoch; see `zoo.augment.Augment`."""
        return self.apply(images, draw(seed, epoch, indices, self.name, self.count))


def check_images(images: Tensor, name: str) -> None:
    """Raise DataError for samples that are no images `(C, H, W)`."""
    if images.ndim != 4:
        what = f"samples of {tuple(images.shape[1:])} cannot be augmented by {name}"
        raise DataError(what, "they are no images (C, H, W)")


def to_fill(value: float, dtype: torch.dtype, name: str) -> float:
    """Return what replaces pixels of raw images of a dtype; raise SettingError for a value they cannot have."""
    if dtype.is_floating_point:
        return value
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not low <= value <= high or value != int(value):
        expected = f"must be a whole number from {low} to {high}, as images of {name_dtype(dtype)} have them"
        raise SettingError(name, expected, value)
    return int(value)


@dataclass(frozen=True, kw_only=True)
class Flip(Operation):
    """Mirror an image left to right.

    Params:
        p: How probable it is.
    """

    p: float = param(0.5, ge=0, le=1)

    name: ClassVar[str] = "flip"
    count: ClassVar[int] = 1

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the images, some of them mirrored."""
        check_images(images, self.name)
        chosen = to_coin(numbers[:, 0], self.p)
        return torch.where(chosen[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True, kw_only=True)
class Crop(Operation):
    """Shift an image by whole pixels: it is padded on all sides, and a window of its own size is cut out.

    Params:
        padding: Pixels on each side, the largest shift; less than the sides of the image.
        fill: The raw value of the padding.
    """

    padding: int = param(4, ge=0, le=MAX_PADDING)
    fill: float = param(0.0)

    name: ClassVar[str] = "crop"
    count: ClassVar[int] = 2

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the images, each shifted by its own number of rows and columns."""
        check_images(images, self.name)
        samples, channels, height, width = images.shape
        if self.padding >= min(height, width):
            expected = f"must be below {min(height, width)} for images of {height} x {width}: nothing could be left"
            raise SettingError("crop:padding", expected, self.padding)
        fill, edge = to_fill(self.fill, images.dtype, "crop:fill"), self.padding
        padded = images.new_full((samples, channels, height + 2 * edge, width + 2 * edge), fill)
        padded[:, :, edge : edge + height, edge : edge + width] = images
        top, left = to_below(numbers, 2 * edge + 1).unbind(1)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(samples, device=images.device), :, top, left]


@dataclass(frozen=True, kw_only=True)
class Erase(Operation):
    """Replace a rectangle of an image by one value, as random erasing does.

    Params:
        p: How probable it is.
        scale: The least and the largest share of the image that a rectangle takes.
        ratio: The least and the largest height divided by width.
        fill: The raw value in its place.
    """

    p: float = param(0.5, ge=0, le=1)
    scale: tuple[float, float] = param((0.02, 0.33), _check_shares)
    ratio: tuple[float, float] = param((0.3, 3.3), _check_ends)
    fill: float = param(0.0)

    name: ClassVar[str] = "erase"
    count: ClassVar[int] = 4

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the images, some with an erased rectangle."""
        check_images(images, self.name)
        height, width = images.shape[2:]
        fill = images.new_full((), to_fill(self.fill, images.dtype, "erase:fill"))
        sizes = place(list_sizes, images.device, (height, width), self.scale, self.ratio)
        coin, size, *corner = numbers.unbind(1)
        chosen = sizes[to_below(size, len(sizes))]
        inside = to_coin(coin, self.p)[:, None, None]
        for axis, side in enumerate((height, width)):
            length = chosen[:, axis]
            start = to_below(corner[axis], side - length + 1)
            pixels = torch.arange(side, device=images.device)
            along = (pixels >= start[:, None]) & (pixels < (start + length)[:, None])
            inside = inside & (along[:, :, None] if axis == 0 else along[:, None, :])
        return torch.where(inside[:, None], fill, images)


@lru_cache(maxsize=16)
def list_sizes(sides: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Return the heights and widths that an erased rectangle may have, int64 `(M, 2)`, all equally probable.

    They come from all pairs of 128 areas, evenly spaced, and 128 ratios, evenly spaced in their logarithm. Those that
    do not fit into the image are left out. The table is made once, on the CPU: roots and logarithms of two devices may
    differ in the last bit.

    Raises:
        SettingError: none fits.
    """
    height, width = sides
    found = []
    for area in _space(*scale):
        for log_ratio in _space(*map(math.log, ratio)):
            high, wide = (
                max(1, round(math.sqrt(area * height * width * math.exp(sign * log_ratio)))) for sign in (1, -1)
            )
            if high < height and wide < width:
                found.append((high, wide))
    if not found:
        expected = f"must allow rectangles smaller than images of {height} x {width}"
        raise SettingError("erase:scale", expected, scale)
    return torch.tensor(found, dtype=torch.int64)


def _space(low: float, high: float) -> list[float]:
    """Return the middles of equal parts of an interval."""
    return [low + (high - low) * (level + 0.5) / LEVELS for level in range(LEVELS)]
