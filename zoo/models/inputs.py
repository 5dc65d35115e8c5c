"""Inputs: what a loaded model is given, made from raw images of any form as those of its training were made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from zoo.data.images import check_resize, fit_image, read_image, to_form
from zoo.errors import DataError, show
from zoo.records.metadata import WeightsMetadata
from zoo.registry.arguments import is_of
from zoo.registry.preprocess import Preprocess

AT_ONCE = 1 << 20
"""Values that are worked on at once, where images have most of them: before, during or after preprocessing."""
MAX_BATCH = 256
"""Inputs that go through the model at once: the activations of more leave a processor's cache."""

Images = Any
"""A path, a PIL image, a numpy array or a tensor, or a list of them."""


class InputMaker:
    """Makes inputs for the model of a weights file.

    Files of format 1 are for ever read as their zoo read them: a picture is first brought to the size of the training
    images and rounded, and tensors must have that size. Since format 2 a picture goes the way of its pixels.
    """

    def __init__(self, weights: WeightsMetadata, device: torch.device) -> None:
        self.preprocess, self.input_shape, self.device = weights.preprocess, weights.input_shape, device
        self.shape = weights.raw_image.shape
        self.range = weights.raw_image.range
        self.dtype: torch.dtype = getattr(torch, weights.raw_image.dtype)
        self.fits_pictures_first = weights.format == 1
        # Floats of a table, say, have no black and white.
        self.takes_floats = len(self.shape) != 3 and self.dtype.is_floating_point

    def make(
        self, images: Images, value_range: tuple[float, float] | None = None, *, channels_last: bool = False
    ) -> Iterator[Tensor]:
        """Yield inputs `(N, *input_shape)`, some at a time; the arguments and errors are those of a `Predictor`."""
        for given in merge(self._read(images, value_range, channels_last)):
            raw = self._fit_integers(given)
            fit = self._choose_fit(raw.shape[1:])
            most = max(steps.count_values(raw.shape[1:]) for steps in (fit or self.preprocess, self.preprocess))
            size = max(1, AT_ONCE // max(1, most))
            # Whole batches of the model, as far as it takes several: a small rest of each part would be slower.
            for part in raw.split(size - size % MAX_BATCH or size):
                yield self._to_inputs(part.to(self.device), fit, value_range)

    def fit_picture(self, pixels: Tensor) -> Tensor:
        """Return the pixels `(C, H, W)` of a picture as the raw image that `make` takes."""
        return fit_image(pixels, self.shape) if self.fits_pictures_first else pixels

    def _fit_integers(self, raw: Tensor) -> Tensor:
        """Return raw images in the form of the training's, where those were rounded too: the same pixels, same bits."""
        widths = (torch.uint8, torch.uint16)
        if self.preprocess.rounded and self.dtype == torch.uint8 and raw.dtype in widths and raw.ndim == 4:
            return to_form(raw, self.shape[0])
        return raw

    def _read(self, images: Images, value_range: tuple[float, float] | None, channels_last: bool) -> Iterator[Tensor]:
        """Yield raw images as batches `(N, C, H, W)`, each of one dtype."""
        if isinstance(images, list | tuple):
            for image in images:
                yield from self._read(image, value_range, channels_last)
            return
        if isinstance(images, str | os.PathLike | bytes) or hasattr(images, "getbands"):
            if len(self.shape) != 3:
                raise DataError("images", f"the model takes inputs of {self.input_shape}, which no picture has")
            batch = self.fit_picture(read_image(images)).unsqueeze(0)
            self._check_shape(batch)
            yield batch
            return
        try:
            raw = torch.as_tensor(images)
        except (TypeError, ValueError, RuntimeError) as error:
            why = f"expected a path, a PIL image, an array or a tensor, or a list of them, got {show(images)}"
            raise DataError("images", why) from error
        dimensions = len(self.shape)
        if raw.ndim not in (dimensions, dimensions + 1):
            raise DataError("images", self._expected(raw), "Add the missing axis, images[None] say")
        if channels_last:
            raw = raw.movedim(-1, -dimensions)
        batch = raw if raw.ndim > dimensions else raw.unsqueeze(0)
        self._check_shape(batch)
        wide = raw.dtype in (torch.int32, torch.int64, torch.uint32, torch.uint64)
        if raw.is_complex() or (wide and raw.dtype != self.dtype):
            fix = "Give uint8, or float with value_range"
            raise DataError(f"images of dtype {raw.dtype}", "have no default range", fix)
        if raw.is_floating_point() and value_range is None and not self.takes_floats:
            fix = "Say what black and white are: value_range=(0, 1), or (0, 255), or (-1, 1)"
            raise DataError(f"images of dtype {raw.dtype}", "their range is not known", fix)
        if value_range is not None and not _is_range(value_range):
            raise DataError(f"value_range: expected (low, high), got {show(value_range)}")
        if raw.is_floating_point() and not bool(torch.isfinite(raw).all()):
            raise DataError("images", "have values that are not finite")
        yield batch

    def _check_shape(self, batch: Tensor) -> None:
        """Refuse what cannot be brought to the shape of the training images, or would take too much on the way."""
        shape, wanted = tuple(batch.shape[1:]), self.shape
        if shape == wanted:
            return
        if (shape[-1], *shape[:-1]) == wanted or (
            len(wanted) == 3 and shape[0] not in (1, 3) and shape[-1] == wanted[0]
        ):
            raise DataError("images", f"{self._expected(batch)}: the channels come last", "Say so: channels_last=True")
        same = shape[0] == wanted[0]
        if self.fits_pictures_first and not (self.preprocess.resize is not None and same and min(shape) > 0):
            raise DataError("images", self._expected(batch), "Give the files or PIL images instead, they are fitted")
        convertible = len(wanted) == 3 and (same or {shape[0], wanted[0]} == {1, 3})
        if not convertible or min(shape) == 0:
            raise DataError("images", self._expected(batch))
        if not self.fits_pictures_first:
            fit = self._choose_fit(shape)
            if fit is not None:
                check_resize(fit, shape)
                shape = fit.output_shape(shape)
            check_resize(self.preprocess, shape)

    def _expected(self, raw: Tensor) -> str:
        return f"expected {self.shape} or (N, {', '.join(map(str, self.shape))}), got {tuple(raw.shape)}"

    def _choose_fit(self, shape: tuple[int, ...]) -> Preprocess | None:
        """Return what brings raw images of a shape to that of the training's, as far as `preprocess` does not."""
        shape = tuple(shape)
        sized = self.preprocess.resize is not None or shape[1:] == self.shape[1:]
        if self.fits_pictures_first or (sized and shape[0] == self.shape[0]):
            return None
        return Preprocess(
            channels=None if shape[0] == self.shape[0] else self.shape[0],
            resize=None if sized else (self.shape[1], self.shape[2]),
            interpolation=self.preprocess.interpolation,
        )

    def _to_inputs(self, raw: Tensor, fit: Preprocess | None, value_range: tuple[float, float] | None) -> Tensor:
        """Preprocess raw images of any range as the training's were."""
        if fit is None and raw.dtype == self.dtype and not raw.is_floating_point():
            return self.preprocess(raw)
        if raw.is_floating_point() and value_range is None:
            return self.preprocess(raw.to(self.dtype))
        if raw.is_floating_point():
            low, high = value_range or (0, 1)
            unit = (raw.to(torch.float32) - low) / (high - low)
            unit = unit if fit is None else fit(unit)
        else:
            unit = (fit or Preprocess())(raw)
        if not self.dtype.is_floating_point and self.preprocess.scale is None:
            return replace(self.preprocess, scale=1.0)(unit)
        low, high = self.range
        return self.preprocess(unit * (high - low) + low)


def _is_range(value: Any) -> bool:
    return is_of(value, tuple[float, float]) and isfinite(value[0]) and isfinite(value[1]) and value[0] < value[1]


def merge(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """Put batches of the same form that follow each other together, as long as they have at most AT_ONCE values."""
    kept: list[Tensor] = []
    for part in parts:
        same = not kept or (part.dtype, part.shape[1:]) == (kept[0].dtype, kept[0].shape[1:])
        if kept and (not same or part.numel() + sum(other.numel() for other in kept) > AT_ONCE):
            yield torch.cat(kept)
            kept = []
        kept.append(part)
    if kept:
        yield torch.cat(kept) if len(kept) > 1 else kept[0]
