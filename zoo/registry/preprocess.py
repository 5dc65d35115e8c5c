"""Preprocess: how raw images become model inputs, as data that a data set declares and weights keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError

if TYPE_CHECKING:
    import torch

# ITU-R BT.601 luma, the weights Pillow uses for its conversion to "L".
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Steps from raw images `(N, C, H, W)` to float32 inputs, in the order of the fields.

    Samples that are no images, rows of a table `(N, C)` say, may have any number of axes; the first is the channels.

    Fields:
        scale: Values are divided by it. None means by dtype: 8- and 16-bit integers are divided by the largest value of
            their dtype, floats stay as they are.
        channels: 3 repeats the one channel of grey images, 1 turns RGB to luma (ITU-R BT.601).
        resize: `(height, width)` of images: bilinear with antialiasing.
        mean: Subtracted, per channel.
        std: The result is divided by it, per channel.
    """

    scale: float | None = None
    channels: int | None = None
    resize: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.scale is not None and not (self.scale > 0 and isfinite(self.scale)):
            raise ValueError(f"scale: expected a number above 0, got {self.scale!r}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels: expected 1 or 3, got {self.channels!r}")
        sizes = (1, 1) if self.resize is None else self.resize
        if len(sizes) != 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"resize: expected (height, width), got {self.resize!r}")
        values = (*self.mean, *self.std)
        if len(self.mean) != len(self.std) or not all(map(isfinite, values)) or min(self.std, default=1) <= 0:
            expected = "expected as many of each, finite and std above 0"
            raise ValueError(f"mean and std: {expected}, got {self.mean}, {self.std}")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Turn raw images `(N, C, H, W)`, or other samples, of any supported dtype into float32 inputs.

        Raises:
            DataError: the dtype needs a stated `scale`, the channels do not fit, or what is no image has a `resize`.
        """
        import torch

        scale = default_scale(images.dtype) if self.scale is None else self.scale
        inputs = images.to(torch.float32)
        if scale != 1:
            # Dividing a copy in place is faster: a second copy of a whole split costs more than the division.
            inputs = inputs / scale if inputs is images else inputs.div_(scale)
        if self.channels is not None and inputs.shape[1] != self.channels:
            inputs = _convert_channels(inputs, self.channels)
        if self.resize is not None and tuple(inputs.shape[2:]) != self.resize:
            if inputs.ndim != 4:
                raise DataError(
                    f"samples of {tuple(inputs.shape[1:])} cannot be resized", "they are no images (C, H, W)"
                )
            inputs = torch.nn.functional.interpolate(
                inputs, size=self.resize, mode="bilinear", antialias=True, align_corners=False
            )
        if self.mean:
            if inputs.shape[1] != len(self.mean):
                raise DataError(f"mean and std are for {len(self.mean)} channels", f"the images have {inputs.shape[1]}")
            mean, std = (_along_channels(values, inputs) for values in (self.mean, self.std))
            inputs = (inputs - mean).div_(std)
        # RGB images often have the channels last in memory. Torch then uses other kernels, whose last bits differ.
        return inputs.contiguous()

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the input that a raw image of `shape` becomes (channels first, no batch axis)."""
        shape = self._convert(shape)
        if self.resize is not None:
            shape = (*shape[:1], *self.resize)
        return tuple(shape)

    def _convert(self, shape: Sequence[int]) -> Sequence[int]:
        return shape if self.channels is None else (self.channels, *shape[1:])

    def count_values(self, shape: Sequence[int]) -> int:
        """Return how many values a raw image of `shape` has where it has most: before, after, or during the resize.

        Channels are converted before it, and the width changes first.
        """
        sizes = [prod(shape), prod(self.output_shape(shape))]
        if self.resize is not None and len(shape) > 2:
            sizes += [prod(self._convert(shape)), prod(self._convert(shape)[:-1]) * self.resize[1]]
        return max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

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


def _along_channels(values: Sequence[float], inputs: torch.Tensor) -> torch.Tensor:
    """Return a value per channel in a shape that meets inputs `(N, C, ...)`."""
    import torch

    numbers = [float(value) for value in values]  # torch takes no integer of more than 64 bits
    return torch.tensor(numbers, dtype=torch.float32, device=inputs.device).view(-1, *[1] * (inputs.ndim - 2))


def _convert_channels(inputs: torch.Tensor, channels: int) -> torch.Tensor:
    if inputs.shape[1] == 1 and channels == 3:
        return inputs.expand(-1, 3, *inputs.shape[2:])
    if inputs.shape[1] == 3 and channels == 1:
        return (inputs * _along_channels(LUMA, inputs)).sum(dim=1, keepdim=True)
    raise DataError(f"images with {inputs.shape[1]} channels cannot become {channels}")
