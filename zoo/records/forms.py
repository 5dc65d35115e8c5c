"""The form that each part of a weights file's metadata must have, as docs/reference/weights-format.md describes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from zoo.records.header import are_sizes, expect, is_text
from zoo.registry.fields import MAX_NAME, NAME_PATTERN, SHA256_PATTERN
from zoo.registry.preprocess import Preprocess

MAX_GOLDEN = 256 * 1024
"""Bytes of the golden samples, as JSON."""
MAX_VALUES = 2**31
"""Values of one image or input: more would exhaust the memory of whoever rebuilds the model."""
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
    if table.get("golden") is not None:
        _check_golden(table, table["golden"])


def _check_preprocess(metadata: Mapping[str, Any]) -> None:
    """Check that preprocessing makes inputs of the stated shape."""
    try:
        preprocess = Preprocess.from_dict(metadata["preprocess"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"preprocess: {error}") from error
    shape = tuple(metadata["input_shape"])
    channels = len(preprocess.mean) or shape[0]
    expect(channels == shape[0], f"preprocess: expected mean and std of {shape[0]} channels", channels)
    image = metadata.get("image") or {"shape": shape}
    for key, start in {"input_shape": shape, "image": image["shape"]}.items():
        made = preprocess.output_shape(start)
        expect(made == shape, f"{key}: expected preprocess to make {list(shape)} of it", list(made))


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


def is_table(value: Any, **forms: Callable[[Any], object]) -> bool:
    """Tell whether it is a table whose named parts have their forms."""
    return isinstance(value, dict) and all(good(value.get(key)) for key, good in forms.items())


def is_list(value: Any) -> bool:
    """Tell whether it is a list."""
    return isinstance(value, list)


def is_number(value: Any) -> bool:
    """Tell whether it is a number; True and False are none."""
    return type(value) in (int, float)


def are_scores(value: Any) -> bool:
    """Tell whether it is a table of numbers; None is a score that was not finite."""
    return is_table(value) and all(score is None or is_number(score) for score in value.values())


def is_file(value: Any) -> bool:
    """Tell whether it is a table with a path and a digest."""
    return is_table(value, path=is_text, digest=is_text)


def are_all(form: Callable[[Any], object]) -> Callable[[Any], bool]:
    """Return the check of a list whose parts all have this form."""
    return lambda value: is_list(value) and all(map(form, value))


def _is_name(value: Any) -> bool:
    # Error messages advise `pip install NAME`, so nothing but a plain name may stand there.
    return is_text(value) and len(value) <= MAX_NAME and NAME_PATTERN.fullmatch(value) is not None


def _is_digest(value: Any) -> bool:
    return is_text(value) and SHA256_PATTERN.fullmatch(value) is not None


def _is_shape(value: Any) -> bool:
    return are_sizes(value, 1) and len(value) > 0 and prod(value) <= MAX_VALUES


def _is_dtype(value: Any) -> bool:
    return is_text(value) and value in IMAGE_BYTES


def _is_pair(value: Any) -> bool:
    return is_list(value) and len(value) == 2 and all(map(is_number, value))


def _is_range(value: Any) -> bool:
    return _is_pair(value) and value[0] <= value[1]


def _is_positive(value: Any) -> bool:
    return type(value) is int and value >= 1


def _are_texts(value: Any) -> bool:
    return is_list(value) and len(value) > 0 and all(map(is_text, value))


def _is_plugin_or_none(value: Any) -> bool:
    return value is None or is_table(value, name=_is_name)


def _is_table_or_none(value: Any) -> bool:
    return value is None or is_table(value)


STEPS = ("scale", "channels", "resize", "mean", "std")
# What each part must be: in words, and as a check.
REQUIRED: dict[str, tuple[str, Callable[[Any], object]]] = {
    "model": ("a name", _is_name),
    "plugin": (
        "a name, a version and a source",
        lambda value: is_table(value, name=_is_name, version=is_text, source=is_text),
    ),
    "params": ("a table", is_table),
    "input_shape": ("a list of sizes of at least 1", _is_shape),
    "class_names": ("a list of texts", _are_texts),
    "preprocess": (f"a table of {', '.join(STEPS)}", lambda value: is_table(value) and value.keys() >= set(STEPS)),
}
OPTIONAL: dict[str, tuple[str, Callable[[Any], object]]] = {
    "image": (
        "a shape, a dtype and a range",
        lambda value: is_table(value, shape=_is_shape, dtype=_is_dtype, range=_is_range),
    ),
    "init": ("a path and a digest", is_file),
    "adapted_from": ("a path and a digest", is_file),
    "frozen": ("a list of texts", are_all(is_text)),
    "dataset": (
        "a table with a name, a plugin and params",
        lambda value: is_table(value, name=is_text, plugin=_is_plugin_or_none, params=_is_table_or_none),
    ),
    "metrics": ("a table of numbers", are_scores),
    "train_config": ("a table", is_table),
    "seed": ("a whole number", lambda value: type(value) is int),
    "device": ("text", is_text),
    "threads": ("a whole number of at least 1", _is_positive),
    "versions": ("a table of texts", lambda value: is_table(value) and all(map(is_text, value.values()))),
    "digests": ("a table of SHA-256", lambda value: is_table(value) and all(map(_is_digest, value.values()))),
    "golden": (
        "dtype, shape, images, probabilities and labels",
        lambda value: (
            is_table(value, dtype=_is_dtype, shape=_is_shape, images=is_text, probabilities=is_list, labels=_are_texts)
            and len(value["shape"]) > 1
            and _is_positive(value.get("stride", 1))
        ),
    ),
    "statistics": (
        "low, high, mean and contrast",
        lambda value: is_table(value, low=is_number, high=is_number, mean=_is_pair, contrast=_is_pair),
    ),
}
