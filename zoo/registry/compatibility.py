"""Compatibility: whether a data set fits a model, told from their specs, and how it may be adapted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoo.errors import IncompatibleError
from zoo.registry.preprocess import LUMA, Preprocess
from zoo.registry.specs import ModelSpec


def show_shape(shape: Sequence[int | str]) -> str:
    """Return a shape as messages show it: `1x28x28`."""
    return "x".join(str(size) for size in shape)


def adapt_preprocess(
    model: ModelSpec, dataset: str, raw_shape: Sequence[int], preprocess: Preprocess
) -> tuple[Preprocess, list[str]]:
    """Return the preprocess that turns raw images of the data set into inputs of the model, and what was adapted.

    Only what the model's spec allows in `adapt` is done: `channels` (grey to RGB or back), `resize`.

    Raises:
        IncompatibleError: the shape does not match the model's pattern, and no allowed adaptation makes it match.
    """
    shape = preprocess.output_shape(raw_shape)
    pattern = model.input_shape
    if pattern is None or _matches(pattern, shape):
        return preprocess, []
    notes = []
    adapted = preprocess
    if len(pattern) == len(shape) == 3:
        channels, height, width = pattern
        if channels != "*" and channels != shape[0] and {channels, shape[0]} == {1, 3} and "channels" in model.adapt:
            notes.append(f"channels {shape[0]} -> {channels}")
            mean, std = (_convert_values(values, shape[0]) for values in (preprocess.mean, preprocess.std))
            adapted = replace(adapted, channels=int(channels), mean=mean, std=std)
        if not _matches(pattern[1:], shape[1:]) and "resize" in model.adapt:
            size = (int(shape[1] if height == "*" else height), int(shape[2] if width == "*" else width))
            notes.append(f"size {show_shape(shape[1:])} -> {show_shape(size)}")
            adapted = _scale(adapted, raw_shape[1:], size)
    if not _matches(pattern, adapted.output_shape(raw_shape)):
        allowed = f"to adapt {' and '.join(model.adapt)}" if model.adapt else "no adaptation of the data"
        needed, fix = f"inputs of {show_shape(pattern)}", f"The model's plugin allows {allowed}"
        raise IncompatibleError(model.name, dataset, needed, show_shape(shape), fix)
    return adapted, notes


def _scale(preprocess: Preprocess, raw: Sequence[int], size: tuple[int, int]) -> Preprocess:
    """Return a preprocess whose images have this size; a crop keeps the part of the image that it kept."""
    if preprocess.crop is None:
        return replace(preprocess, resize=size)
    sides = zip(preprocess.resized(raw), preprocess.crop, size, strict=True)
    height, width = (round(whole * wanted / kept) for whole, kept, wanted in sides)
    return replace(preprocess, resize=(height, width), crop=size)


def _matches(pattern: Sequence[int | str], shape: Sequence[int]) -> bool:
    return len(pattern) == len(shape) and all(want in ("*", got) for want, got in zip(pattern, shape, strict=True))


def _convert_values(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Convert values per channel in the way of the images: grey is repeated, RGB becomes its luma."""
    if not values or len(values) != channels:
        return values
    return values * 3 if channels == 1 else (sum(weight * value for weight, value in zip(LUMA, values, strict=True)),)
