"""Compatibility: whether a data set fits a model, told from their specs, and how it may be adapted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoo.errors import IncompatibleError, SettingError
from zoo.limits import MAX_IMAGE_VALUES
from zoo.registry.preprocess import LUMA, Preprocess
from zoo.registry.specs import ModelSpec


def show_shape(shape: Sequence[int | str]) -> str:
    """Return a shape as messages show it: `1x28x28`."""
    return "x".join(str(size) for size in shape)


def adapt_preprocess(
    model: ModelSpec,
    dataset: str,
    raw_shape: Sequence[int],
    preprocess: Preprocess,
    input_size: tuple[int, int] | None = None,
) -> tuple[Preprocess, list[str]]:
    """Return the preprocess that turns raw images of the data set into inputs of the model, and what was adapted.

    Images are brought to the input size, where one is asked for. Beside that only what the model's spec allows in
    `adapt` is done: `channels` (grey to RGB or back), `resize` where no size is asked for.

    Raises:
        SettingError: inputs of that size are larger than a file may ask for.
        IncompatibleError: the shape does not match the model's pattern, and no allowed adaptation makes it match.
    """
    shape = preprocess.output_shape(raw_shape)
    pattern, allowed = model.input_shape, model.adapt
    notes = []
    if input_size is not None:
        if len(shape) != 3:
            fix = "Leave the input size out"
            raise IncompatibleError(model.name, dataset, "images, to bring them to a size", show_shape(shape), fix)
        allowed = tuple(each for each in allowed if each != "resize")
        if shape[1:] != input_size:
            notes.append(f"size {show_shape(shape[1:])} -> {show_shape(input_size)}")
            preprocess = _scale(preprocess, raw_shape[1:], input_size)
            shape = preprocess.output_shape(raw_shape)
            if preprocess.count_values(raw_shape) > MAX_IMAGE_VALUES:
                most = f"an input of {show_shape(shape)} has too many values, at most {MAX_IMAGE_VALUES} are made"
                raise SettingError("input_size", most)
    if pattern is None or _matches(pattern, shape):
        return preprocess, notes
    adapted = preprocess
    if len(pattern) == len(shape) == 3:
        channels, height, width = pattern
        if channels != "*" and channels != shape[0] and {channels, shape[0]} == {1, 3} and "channels" in allowed:
            notes.append(f"channels {shape[0]} -> {channels}")
            mean, std = (_convert_values(values, shape[0]) for values in (preprocess.mean, preprocess.std))
            adapted = replace(adapted, channels=int(channels), mean=mean, std=std)
        if not _matches(pattern[1:], shape[1:]) and "resize" in allowed:
            size = (int(shape[1] if height == "*" else height), int(shape[2] if width == "*" else width))
            notes.append(f"size {show_shape(shape[1:])} -> {show_shape(size)}")
            adapted = _scale(adapted, raw_shape[1:], size)
    if not _matches(pattern, adapted.output_shape(raw_shape)):
        told = f"to adapt {' and '.join(model.adapt)}" if model.adapt else "no adaptation of the data"
        needed, fix = f"inputs of {show_shape(pattern)}", f"The model's plugin allows {told}"
        if input_size is not None:
            fix = "Give an input size that it takes, or none"
        raise IncompatibleError(model.name, dataset, needed, show_shape(shape), fix)
    return adapted, notes


def _scale(preprocess: Preprocess, raw: Sequence[int], size: tuple[int, int]) -> Preprocess:
    """Return a preprocess whose images have this size; a crop keeps the part of the image that it kept."""
    if preprocess.crop is None:
        return replace(preprocess, resize=size)
    if isinstance(preprocess.resize, int) and preprocess.rounded:  # other images may have other sides
        shares = [asked / had for asked, had in zip(size, preprocess.crop, strict=True)]
        return replace(preprocess, resize=max(round(preprocess.resize * max(shares)), *size), crop=size)
    sides = zip(preprocess.resized(raw), preprocess.crop, size, strict=True)
    height, width = (round(whole * wanted / kept) for whole, kept, wanted in sides)
    return replace(preprocess, resize=(height, width), crop=size)


def check_input_shape(model: ModelSpec, input_shape: Sequence[int]) -> None:
    """Raise UsageError where a model cannot take inputs of this shape."""
    if not input_shape or min(input_shape) < 1:
        raise SettingError("input_shape", "expected at least one size above 0, as (1, 28, 28)", tuple(input_shape))
    if model.input_shape is not None and not _matches(model.input_shape, input_shape):
        needed = f"expected {show_shape(model.input_shape)} for model {model.name!r}, * for any size"
        raise SettingError("input_shape", needed, tuple(input_shape))


def _matches(pattern: Sequence[int | str], shape: Sequence[int]) -> bool:
    return len(pattern) == len(shape) and all(want in ("*", got) for want, got in zip(pattern, shape, strict=True))


def _convert_values(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Convert values per channel in the way of the images: grey is repeated, RGB becomes its luma."""
    if not values or len(values) != channels:
        return values
    return values * 3 if channels == 1 else (sum(weight * value for weight, value in zip(LUMA, values, strict=True)),)
