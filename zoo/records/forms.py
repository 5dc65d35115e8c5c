"""The form that each part of a weights file's metadata must have, as docs/reference/weights-format.md describes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

from zoo.errors import show
from zoo.limits import MAX_CLASSES, MAX_GOLDEN, MAX_GOLDEN_VALUES, MAX_IMAGE_VALUES, MAX_RESIZE_VALUES, MAX_SIDE
from zoo.records.header import FORMAT, are_sizes, expect, is_text
from zoo.registry.fields import MAX_NAME, NAME_PATTERN, SHA256_PATTERN, is_int64
from zoo.registry.preprocess import Preprocess

Form = Callable[[Any], object]
"""Tells whether a value has a form."""
WITHOUT_RANGE = ("uint32", "int32", "uint64", "int64")
"""Dtypes whose range says nothing about the images: what they are divided by has to be stated."""
IMAGE_BYTES = {
    **{"bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8},
    **{"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8},
}
"""Dtypes of raw images, by their names in torch, and the bytes of one value."""


def check_forms(table: Mapping[str, Any]) -> None:
    """Check that metadata say how to rebuild and feed the model; what is optional has its form where it is there.

    Raises:
        ValueError: a part is missing or of another form; says which, what was expected and what is there.
    """
    for key, (form, good) in {**REQUIRED, **OPTIONAL}.items():
        value = table.get(key)
        expect((value is None and key in OPTIONAL) or good(value), f"{key}: expected {form}", value)
    _check_preprocess(table)
    if (typical := (table.get("statistics") or {}).get("typical")) is not None:
        size, wanted = len(typical["centre"]), 3 if len(table["input_shape"]) == 3 else 2
        expect(size == wanted, f"statistics: expected {wanted} traits of a typical sample", size)
    if table.get("golden") is not None:
        _check_golden(table, table["golden"])


def _check_preprocess(metadata: Mapping[str, Any]) -> None:
    """Check that preprocessing makes inputs of the stated shape."""
    steps = metadata["preprocess"]
    if metadata.get("format", FORMAT) == 1 and (set(LATER_STEPS) & steps.keys() or is_whole(steps["resize"])):
        later = f"{', '.join(LATER_STEPS)} and a resize of one side are of format 2"
        raise ValueError(f"preprocess: expected what format 1 has, got {show(steps)}: {later}")
    try:
        preprocess = Preprocess.from_dict(steps)
    except (TypeError, ValueError) as error:
        raise ValueError(f"preprocess: {error}") from error
    shape = tuple(metadata["input_shape"])
    expect(
        not preprocess.is_for_images or len(shape) == 3,
        "preprocess: expected no resize of what is no image",
        list(shape),
    )
    channels = len(preprocess.mean) or shape[0]
    expect(channels == shape[0], f"preprocess: expected mean and std of {shape[0]} channels", channels)
    image = metadata.get("image") or {"shape": shape, "dtype": "uint8"}
    scaled = preprocess.scale is not None or image["dtype"] not in WITHOUT_RANGE
    expect(scaled, f"preprocess: expected a scale for images of {image['dtype']}", None)
    for key, start in {"input_shape": shape, "image": image["shape"]}.items():
        _check_steps(preprocess, key, start)
        made = preprocess.output_shape(start)
        expect(made == shape, f"{key}: expected preprocess to make {list(shape)} of it", list(made))
        values, most = preprocess.count_values(start), MAX_RESIZE_VALUES
        expect(values <= most, f"{key}: expected at most {most} values where it is resized", values)


def _check_steps(preprocess: Preprocess, key: str, shape: Sequence[int]) -> None:
    """Check that the steps can be done to images of a shape: some of them are for pictures only."""
    if preprocess.channels is not None or preprocess.is_for_images:
        expect(len(shape) == 3, f"{key}: expected channels, height and width, which preprocess needs", list(shape))
    if preprocess.resize is not None:
        side = max(*shape, *preprocess.resized(shape[1:]))
        expect(side <= MAX_SIDE, f"{key}: expected sides of at most {MAX_SIDE} pixels where it is resized", side)
    if preprocess.crop is not None:
        height, width = preprocess.resized(shape[1:])
        large = height >= preprocess.crop[0] and width >= preprocess.crop[1]
        expect(large, f"{key}: expected images of at least {list(preprocess.crop)} before the crop", [height, width])
    if preprocess.channels not in (None, shape[0]):
        good = {preprocess.channels, shape[0]} == {1, 3}
        expect(good, f"{key}: expected 1 or 3 channels, which preprocess converts", shape[0])


def _check_golden(metadata: Mapping[str, Any], golden: Mapping[str, Any]) -> None:
    """Check that the golden samples fit the images, the classes and each other."""
    names, image = metadata["class_names"], metadata.get("image")
    rows, labels = golden["probabilities"], golden["labels"]
    size = len(json.dumps(golden))
    expect(size <= MAX_GOLDEN, f"golden: expected at most {MAX_GOLDEN} bytes", size)
    count, *shape = golden["shape"]
    stride = golden.get("stride", 1)
    full = image["shape"] if image is not None else shape
    expect(stride <= max(full), f"golden: expected a stride of at most {max(full)}", stride)
    values = count * prod(full)
    expect(values <= MAX_GOLDEN_VALUES, f"golden: expected at most {MAX_GOLDEN_VALUES} values of its images", values)
    kept = full[:-2] + [-(-size // stride) for size in full[-2:]]
    expect(kept == shape, f"golden: expected images of shape {kept}", shape)
    if image is not None:
        expect(golden["dtype"] == image["dtype"], f"golden: expected images of {image['dtype']}", golden["dtype"])
    try:
        found = len(base64.b64decode(golden["images"], validate=True))
    except ValueError as error:
        raise ValueError(f"golden: images: {error}") from error
    wanted = prod(golden["shape"]) * IMAGE_BYTES[golden["dtype"]]
    expect(found == wanted, f"golden: expected images of {wanted} bytes", found)
    expect(len(rows) == count, f"golden: expected probabilities of {count} images", len(rows))
    for row in rows:
        good = isinstance(row, list) and len(row) == len(names) and all(is_number(p) and 0 <= p <= 1 for p in row)
        expect(good and abs(sum(row) - 1) < 1e-3, f"golden: expected {len(names)} probabilities that sum to 1", row)
    good = len(labels) == count and set(labels) <= set(names)
    expect(good, f"golden: expected {count} labels, all of class_names", labels)


def is_table(value: Any, **forms: Form) -> bool:
    """Tell whether it is a table whose named parts have their forms."""
    return isinstance(value, dict) and all(good(value.get(key)) for key, good in forms.items())


def is_plain_table(value: Any) -> bool:
    """Tell whether it is a table without whole numbers that no factory can take: of more than 64 bits."""
    return is_table(value) and _are_small(value)


def _are_small(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_are_small, value.values() if isinstance(value, dict) else value))
    return not is_whole(value) or is_int64(value)


def is_list(value: Any) -> bool:
    """Tell whether it is a list."""
    return isinstance(value, list)


def is_number(value: Any) -> bool:
    """Tell whether it is a number; True and False are none."""
    return type(value) in (int, float)


def is_whole(value: Any) -> bool:
    """Tell whether it is a whole number."""
    return type(value) is int


def are_all(form: Form) -> Form:
    """Return the form of a list whose parts all have this form."""
    return lambda value: is_list(value) and all(map(form, value))


def are_values(form: Form) -> Form:
    """Return the form of a table whose values all have this form."""
    return lambda value: is_table(value) and all(map(form, value.values()))


def _or_none(form: Form) -> Form:
    return lambda value: value is None or form(value)


def _is_name(value: Any) -> bool:
    # Error messages advise `pip install NAME`, so nothing but a plain name may stand there.
    return is_text(value) and len(value) <= MAX_NAME and NAME_PATTERN.fullmatch(value) is not None


def _is_shape(value: Any) -> bool:
    return are_sizes(value, 1) and len(value) > 0 and prod(value) <= MAX_IMAGE_VALUES


def _is_dtype(value: Any) -> bool:
    return is_text(value) and value in IMAGE_BYTES


def _is_pair(value: Any) -> bool:
    return is_list(value) and len(value) == 2 and all(map(is_number, value))


def _is_range(value: Any) -> bool:
    return _is_pair(value) and value[0] <= value[1]


def _is_positive(value: Any) -> bool:
    return is_whole(value) and value >= 1


def _are_texts(value: Any) -> bool:
    return value != [] and bool(are_all(is_text)(value))


def _are_names(value: Any) -> bool:
    return _are_texts(value) and len(value) <= MAX_CLASSES


def _is_golden(value: Any) -> bool:
    forms = {"dtype": _is_dtype, "shape": _is_shape, "images": is_text, "probabilities": is_list, "labels": _are_texts}
    return is_table(value, **forms) and len(value["shape"]) > 1 and _is_positive(value.get("stride", 1))


def _is_typical(value: Any) -> bool:
    numbers = are_all(is_number)
    if not is_table(value, centre=numbers, precision=are_all(numbers), limit=is_number):
        return False
    size = len(value["centre"])
    return size in (2, 3) and [len(row) for row in value["precision"]] == [size] * size


are_scores = are_values(_or_none(is_number))
"""A table of numbers; None is a score that was not finite."""
is_file = partial(is_table, path=is_text, digest=is_text)
_is_origin = partial(is_table, name=_is_name)
is_recipe = partial(is_table, name=_is_name, plugin=_is_origin, changed=_or_none(are_all(is_text)))
_or_text = _or_none(is_text)
_is_publication = partial(
    is_table,
    name=_is_name,
    plugin=_is_origin,
    metrics=_or_none(are_scores),
    **dict.fromkeys(("license", "homepage", "source", "sha256"), _or_text),
)
STEPS = ("scale", "channels", "resize", "mean", "std")
LATER_STEPS = ("interpolation", "crop", "rounded")
"""Steps that files of format 1 do not have, and others need not have."""
PLAIN = "a table, its whole numbers of at most 64 bits"
SHAPE = f"a list of sizes of at least 1, at most {MAX_IMAGE_VALUES} values"
# What each part must be: in words, and as a check.
REQUIRED: dict[str, tuple[str, Form]] = {
    "model": ("a name", _is_name),
    "plugin": ("a name, a version and a source", partial(is_table, name=_is_name, version=is_text, source=is_text)),
    "params": (PLAIN, is_plain_table),
    "input_shape": (SHAPE, _is_shape),
    "class_names": (f"a list of at most {MAX_CLASSES} texts", _are_names),
    "preprocess": (f"a table of {', '.join(STEPS)}", lambda value: is_table(value) and value.keys() >= set(STEPS)),
}
OPTIONAL: dict[str, tuple[str, Form]] = {
    "image": (
        f"a dtype, a range, and as shape {SHAPE}",
        partial(is_table, shape=_is_shape, dtype=_is_dtype, range=_is_range),
    ),
    "features": ("a layer and a width of at least 1", partial(is_table, layer=is_text, width=_is_positive)),
    "recipe": ("a name, a plugin and a list of texts", is_recipe),
    "init": ("a path and a digest", is_file),
    "adapted_from": ("a path and a digest", is_file),
    "converted_from": ("a path, a digest and a model", partial(is_file, model=is_text)),
    "published": ("a name, a plugin and texts", _is_publication),
    "frozen": ("a list of texts", are_all(is_text)),
    "dataset": (
        "a table with a name, a plugin and params",
        partial(is_table, name=is_text, plugin=_or_none(_is_origin), params=_or_none(is_plain_table)),
    ),
    "metrics": ("a table of numbers", are_scores),
    "train_config": (PLAIN, is_plain_table),
    "seed": ("a whole number", is_whole),
    "device": ("text", is_text),
    "threads": ("a whole number of at least 1", _is_positive),
    "versions": ("a table of texts", are_values(is_text)),
    "digests": ("a table of SHA-256", are_values(lambda text: is_text(text) and SHA256_PATTERN.fullmatch(text))),
    "golden": ("dtype, shape, images, probabilities and labels", _is_golden),
    "statistics": (
        "low, high, mean and contrast, and of one sample what is typical and how often it is warned about",
        partial(
            is_table,
            **{"low": is_number, "high": is_number, "mean": _is_pair, "contrast": _is_pair},
            **{"typical": _or_none(_is_typical), "warned": _or_none(are_scores)},
        ),
    ),
}
