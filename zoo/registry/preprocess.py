"""Preprocess: how raw images become model inputs, as data that a data set declares and weights keep."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError

if TYPE_CHECKING:
    import torch

# ITU-R BT.601 luma, the weights Pillow uses for its conversion to "L".
LUMA = (0.299, 0.587, 0.114)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class Preprocess:
    """Steps from raw images `(N, C, H, W)` to float32 inputs, in the order of the fields.

    Samples that are no images, rows of a table `(N, C)` say, may have any number of axes; the first is the channels.

    Fields:
        scale: Values are divided by it. None means by dtype: 8- and 16-bit integers are divided by the largest value of
            their dtype, floats stay as they are.
        channels: 3 repeats the one channel of grey images, 1 turns RGB to luma (ITU-R BT.601).
        resize: `(height, width)` of images, or the length of their shorter side; the other keeps the ratio, rounded
            down, and a `crop` must follow.
        interpolation: How they are resized: bilinear or bicubic, with antialiasing, or nearest. What bicubic makes
            darker or brighter than all of the image is clipped.
        crop: `(height, width)` of the middle of an image that is kept; half a pixel is rounded to the even one.
        mean: Subtracted, per channel.
        std: The result is divided by it, per channel.
        rounded: Integer images are resized as they are, and rounded to whole values, before all other steps. Images of
            a Dataset may then differ in size: each is resized by itself when it is read, see `fit`.
    """

    scale: float | None = None
    channels: int | None = None
    resize: tuple[int, int] | int | None = None
    interpolation: str = field(default="bilinear", kw_only=True)
    crop: tuple[int, int] | None = field(default=None, kw_only=True)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rounded: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.scale is not None and not (self.scale > 0 and isfinite(self.scale)):
            raise ValueError(f"scale: expected a number above 0, got {self.scale!r}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels: expected 1 or 3, got {self.channels!r}")
        one_side = type(self.resize) is int and self.resize > 0
        if self.resize is not None and not one_side and not _is_size(self.resize):
            raise ValueError(f"resize: expected (height, width) or the shorter side, got {self.resize!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation: expected {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")
        if self.crop is not None and not _is_size(self.crop):
            raise ValueError(f"crop: expected (height, width), got {self.crop!r}")
        if one_side and self.crop is None:
            raise ValueError(f"crop: expected (height, width) after the resize of one side to {self.resize}, got None")
        least = (self.resize,) * 2 if isinstance(self.resize, int) else self.resize
        if self.crop is not None and least is not None and any(map(operator.gt, self.crop, least)):
            raise ValueError(f"crop: expected at most what the resize to {self.resize} leaves, got {self.crop}")
        values = (*self.mean, *self.std)
        if len(self.mean) != len(self.std) or not all(map(isfinite, values)) or min(self.std, default=1) <= 0:
            expected = "expected as many of each, finite and std above 0"
            raise ValueError(f"mean and std: {expected}, got {self.mean}, {self.std}")
        if type(self.rounded) is not bool:
            raise ValueError(f"rounded: expected true or false, got {self.rounded!r}")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Turn raw images `(N, C, H, W)`, or other samples, of any supported dtype into float32 inputs.

        Raises:
            DataError: the dtype needs a stated `scale`, the channels do not fit, an image is smaller than the crop, or
                what is no image has a `resize` or a `crop`.
        """
        import torch

        # Torch takes no integer of more than 64 bits.
        scale = default_scale(images.dtype) if self.scale is None else float(self.scale)
        if self.rounded and not images.is_floating_point():
            images = self.fit(images)
        inputs = images.to(torch.float32)
        if scale != 1:
            # Dividing a copy in place is faster: a second copy of a whole split costs more than the division.
            inputs = inputs / scale if inputs is images else inputs.div_(scale)
        if self.channels is not None and inputs.shape[1] != self.channels:
            inputs = _convert_channels(inputs, self.channels)
        if self.is_for_images:
            inputs = self._crop(self._resize(inputs))
        if self.mean:
            if inputs.shape[1] != len(self.mean):
                raise DataError(f"mean and std are for {len(self.mean)} channels", f"the images have {inputs.shape[1]}")
            mean, std = (_along_channels(values, inputs.ndim, inputs.device) for values in (self.mean, self.std))
            inputs = (inputs - mean).div_(std)
        # RGB images often have the channels last in memory. Torch then uses other kernels, whose last bits differ.
        return inputs.contiguous()

    def __str__(self) -> str:
        """Return the steps in words, without those that do nothing: `resize 256 bilinear, rounded, crop 224x224`."""
        size = "x".join(map(str, self.resize)) if isinstance(self.resize, tuple) else self.resize
        told = [f"resize {size} {self.interpolation}" if size else "", "rounded" if self.rounded and size else ""]
        told.append(f"scale {self.scale:g}" if self.scale is not None else "")
        told.append(f"channels {self.channels}" if self.channels else "")
        told.append(f"crop {self.crop[0]}x{self.crop[1]}" if self.crop else "")
        for name, values in (("mean", self.mean), ("std", self.std)):
            told.append(f"{name} {' '.join(f'{value:.4g}' for value in values)}" if values else "")
        return ", ".join(filter(None, told)) or "divided by the range of their dtype"

    @property
    def is_for_images(self) -> bool:
        """Whether there is a step that only images have: a resize or a crop."""
        return self.resize is not None or self.crop is not None

    def fit(self, images: torch.Tensor) -> torch.Tensor:
        """Return raw images `(N, C, H, W)` resized, in their own dtype, and cut to the shape that `fitted_shape` tells.

        These steps do the same to what it returns as to the images themselves, where they are `rounded`.

        Raises:
            DataError: an image is smaller than the crop, or is no image.
        """
        import torch

        size = self.fitted_shape(images.shape[1:])[1:]
        if not self.is_for_images or tuple(images.shape[2:]) == size:
            return images
        if self.resize is None:
            return self._crop(images).contiguous()
        resized = self._resize(images.to(torch.float32))
        if not images.is_floating_point():
            most = torch.iinfo(images.dtype).max if images.dtype != torch.bool else 1
            resized = resized.round_().clamp_(0 if images.dtype == torch.bool else torch.iinfo(images.dtype).min, most)
        return self._cut(resized, size).to(images.dtype).contiguous()

    def fitted_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape to which `fit` brings raw images of `shape`: of one length of a side, a square."""
        if isinstance(self.resize, int):
            return (*shape[:1], self.resize, self.resize)
        size = self.resize or self.crop
        return tuple(shape) if size is None else (*shape[:1], *size)

    def _resize(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim != 4:
            step = "resized" if self.resize is not None else "cropped"
            raise DataError(f"samples of {tuple(inputs.shape[1:])} cannot be {step}", "they are no images (C, H, W)")
        size = self.resized(inputs.shape[2:])
        return inputs if tuple(inputs.shape[2:]) == size else _resize(inputs, size, self.interpolation)

    def _crop(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.crop is None:
            return inputs
        size = inputs.shape[2:]
        if any(map(operator.gt, self.crop, size)):
            raise DataError(
                f"images of {size[0]}x{size[1]}", f"are smaller than the crop {self.crop[0]}x{self.crop[1]}"
            )
        top, left = (_find_start(has, keeps) for has, keeps in zip(size, self.crop, strict=True))
        return inputs[..., top : top + self.crop[0], left : left + self.crop[1]]

    def _cut(self, resized: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Return the part of this size of whose middle the crop is the middle of the whole, to the pixel."""
        keeps = self.crop or size
        sides = zip(resized.shape[2:], size, keeps, strict=True)
        top, left = (_find_start(has, kept) - _find_start(part, kept) for has, part, kept in sides)
        return resized[..., top : top + size[0], left : left + size[1]]

    def resized(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return `(height, width)` after the resize of an image that has this size."""
        if not isinstance(self.resize, int):
            return tuple(size) if self.resize is None else self.resize
        return tuple(self.resize * side // min(size) for side in size)

    def resizes(self, shape: Sequence[int]) -> bool:
        """Tell whether a raw image of `shape` has another size after the resize."""
        return self.resize is not None and tuple(shape[1:]) != self.resized(shape[1:])

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the input that a raw image of `shape` becomes (channels first, no batch axis)."""
        shape = self._convert(shape)
        if self.crop is not None:
            return (*shape[:1], *self.crop)
        return tuple(shape) if self.resize is None else (*shape[:1], *self.resized(shape[1:]))

    def _convert(self, shape: Sequence[int]) -> Sequence[int]:
        return shape if self.channels is None else (self.channels, *shape[1:])

    def count_values(self, shape: Sequence[int]) -> int:
        """Return how many values a raw image of `shape` has where it has most: before, after, or during the resize.

        Channels are converted before it, and the width changes first.
        """
        sizes = [prod(shape), prod(self.output_shape(shape))]
        if self.resize is not None and len(shape) > 2:
            converted = shape if self.rounded else self._convert(shape)
            height, width = self.resized(shape[1:])
            sizes += [prod(converted), prod(converted[:-1]) * width, converted[0] * height * width]
        return max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `rounded` only where it is so."""
        steps = asdict(self)
        if not self.rounded:
            del steps["rounded"]
        return steps

    to_json = to_dict

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocess:
        """Read what `to_dict` wrote.

        Raises:
            TypeError, ValueError: a key is unknown or a value is wrong.
        """
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in data.items()}
        return cls(**values)


def name_dtype(dtype: torch.dtype) -> str:
    """Return a dtype as records and messages name it: `uint8`."""
    return str(dtype).removeprefix("torch.")


def default_scale(dtype: torch.dtype) -> float:
    """Return what raw values of `dtype` are divided by when nothing is stated.

    Raises:
        DataError: an integer dtype of more than 16 bits, whose range says nothing about the images.
    """
    import torch

    if dtype.is_floating_point or dtype == torch.bool:
        return 1
    if dtype in (torch.uint8, torch.int8, torch.uint16, torch.int16):
        return torch.iinfo(dtype).max
    fix = "Declare it: Preprocess(scale=...), or give uint8 images"
    raise DataError(f"images of dtype {dtype} have no default range", fix=fix)


@lru_cache(maxsize=16)
def _along_channels(values: tuple[float, ...], axes: int, device: torch.device) -> torch.Tensor:
    """Return a value per channel in a shape that meets inputs `(N, C, ...)` of so many axes.

    It is made once: whoever copies numbers to an accelerator waits for all that it has to do before.
    """
    import torch

    numbers = [float(value) for value in values]  # torch takes no integer of more than 64 bits
    with torch.inference_mode(mode=False):
        return torch.tensor(numbers, dtype=torch.float32).view(-1, *[1] * (axes - 2)).to(device)


def _find_start(has: int, keeps: int) -> int:
    """Return where the middle begins that is kept of a side; half a pixel is rounded to the even one."""
    return round((has - keeps) / 2)


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)


def _resize(inputs: torch.Tensor, size: tuple[int, ...], interpolation: str) -> torch.Tensor:
    import torch

    if interpolation == "nearest":
        return torch.nn.functional.interpolate(inputs, size, mode="nearest-exact")
    resized = torch.nn.functional.interpolate(inputs, size, mode=interpolation, antialias=True, align_corners=False)
    if interpolation == "bicubic":  # only floats are here, not what black and white are
        extremes = (end(dim=(1, 2, 3), keepdim=True) for end in (inputs.amin, inputs.amax))
        resized = resized.clamp_(*extremes)
    return resized


def _convert_channels(inputs: torch.Tensor, channels: int) -> torch.Tensor:
    if inputs.shape[1] == 1 and channels == 3:
        return inputs.expand(-1, 3, *inputs.shape[2:])
    if inputs.shape[1] == 3 and channels == 1:
        return (inputs * _along_channels(LUMA, inputs.ndim, inputs.device)).sum(dim=1, keepdim=True)
    raise DataError(f"images with {inputs.shape[1]} channels cannot become {channels}")
