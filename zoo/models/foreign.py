"""Foreign: the state dict of another program made weights of a registered model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import SettingError, StorageError, UsageError, WeightsError, quote
from zoo.limits import MAX_CLASSES, MODEL_FACTOR, MODEL_SPARE
from zoo.models.device import use_seed
from zoo.models.names import SHOWN, match_names
from zoo.models.rebuilding import Rebuilding
from zoo.models.saving import save
from zoo.models.state import as_state_dict
from zoo.models.state_dicts import read_state_dict
from zoo.models.weights import check_finite
from zoo.records.class_names import read_class_names
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.origins import ModelOrigin
from zoo.registry.compatibility import check_input_shape, show_shape
from zoo.registry.entries import Entry, Registry
from zoo.registry.factories import build_model, load_factory, refuse_params
from zoo.registry.params import resolve_params
from zoo.registry.preprocess import Preprocess, name_dtype
from zoo.registry.specs import ModelSpec
from zoo.storage import files

FEW = 10
"""Classes of the model that is built to find out which of its tensors depend on them."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is said of a state dict beside the model that it is of; each is as `zoo.convert` takes it."""

    class_names: Sequence[str] | Path | None = None
    preprocess: Preprocess | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    input_shape: Sequence[int] | None = None
    key: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was taken of a state dict, and how.

    Fields:
        tensors: How many.
        key: Under which key of the file they were, empty for the file itself.
        other_keys: Further keys under which others are.
        beginning: What stood before all names in the file, and what stands there in the model.
        left_out: Names in the file that were not taken.
        missing: Counters of batches that the file lacks and that stay 0.
        rounded: Tensors whose values became the nearest ones of the model's dtype, `float64 -> float32` say.
        class_names: The classes, `class 0` and so on where nobody named them.
        named: Whether somebody did.
        preprocess: How a raw image becomes an input.
        input_shape: The shape of an input.
    """

    tensors: int
    key: str
    other_keys: tuple[str, ...]
    beginning: tuple[str, str]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    rounded: Mapping[str, str]
    class_names: tuple[str, ...]
    named: bool
    preprocess: Preprocess
    input_shape: tuple[int, ...]


def take_state_dict(
    path: Path, target: Path, entry: Entry[ModelSpec], registry: Registry, wish: Wish
) -> tuple[Taken, int]:
    """Make the state dict in a file weights of a model, and save them to `target` with golden samples: return how many.

    Raises:
        SettingError, UsageError: what is said does not fit the file or the model, or does not suffice.
        WeightsError: the file holds no state dict, or one that does not fit the model.
        PluginError: the plugin of the model is broken.
        StorageError: the new file cannot be written.
    """
    source = read_state_dict(path, wish.key)
    names = wish.class_names
    named = read_class_names(names) if isinstance(names, Path) else None if names is None else tuple(names)
    preprocess = wish.preprocess or Preprocess()
    shape = _find_input_shape(entry, preprocess, wish.input_shape)
    params = resolve_params(entry.spec, load_factory(entry), wish.params)
    size = sum(tensor.numel() * tensor.element_size() for tensor in source.tensors.values())

    def build(count: int) -> nn.Module:
        most = MODEL_FACTOR * min(size, path.stat().st_size) + MODEL_SPARE
        with use_seed(0), Rebuilding(path, most), refuse_params(bool(wish.params)):
            return build_model(entry, input_shape=shape, num_classes=count, params=params)

    few, more = (build(count).state_dict() for count in (FEW, FEW + 1))
    matched = match_names(path, source.tensors, few, wish.rename, wish.drop)
    count = _count_classes(entry, matched.tensors, few, more, named)
    model = build(count)
    rounded = _load(path, model, matched.tensors)
    class_names = named or tuple(f"class {index}" for index in range(count))
    origin = ModelOrigin(path=str(path.absolute()), digest=source.digest, model="")
    try:
        save(
            model,
            target,
            model=entry.qualified_name,
            input_shape=shape,
            class_names=class_names,
            params=params,
            preprocess=preprocess,
            registry=registry,
            converted_from=origin,
        )
    except StorageError as error:
        fix = error.fix.replace(files.ELSEWHERE, "Write elsewhere with output=...")
        raise StorageError(error.what, error.why, fix) from error
    golden = read_metadata(target, read_header(target).metadata).golden
    taken = Taken(
        tensors=len(matched.tensors),
        key=source.key,
        other_keys=source.others,
        beginning=matched.beginning,
        left_out=(*matched.left_out, *source.ignored),
        missing=matched.missing,
        rounded=rounded,
        class_names=class_names,
        named=named is not None,
        preprocess=preprocess,
        input_shape=shape,
    )
    return taken, len(golden.labels) if golden else 0


def _find_input_shape(entry: Entry[ModelSpec], preprocess: Preprocess, given: Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of an input: as it is given, else as preprocessing makes it and the model declares it."""
    if given is not None:
        shape = tuple(map(int, given))
        check_input_shape(entry.spec, shape)
        return shape
    pattern = entry.spec.input_shape or ()
    sides = preprocess.crop or preprocess.resize
    channels = len(preprocess.mean) or preprocess.channels or (pattern[0] if pattern else "*")
    size = sides if isinstance(sides, tuple) else pattern[1:]
    found = [channels, *size]
    if not size or not all(isinstance(side, int) for side in found):
        takes = f"model {quote(entry.name)} takes {show_shape(pattern) if pattern else 'inputs of any shape'}"
        raise UsageError(takes, "the shape of an input is not clear", "Give it with input_shape=..., 3x224x224 say")
    shape = tuple(int(side) for side in found)
    check_input_shape(entry.spec, shape)
    return shape


def _count_classes(
    entry: Entry[ModelSpec],
    tensors: Mapping[str, Tensor],
    few: Mapping[str, Tensor],
    more: Mapping[str, Tensor],
    class_names: Sequence[str] | None,
) -> int:
    """Return the number of classes, told by the tensors whose shape depends on it.

    Raises:
        SettingError: names for another number were given, or none where no tensor tells.
    """
    for name, tensor in tensors.items():
        steps = [
            (axis, large - size)
            for axis, (size, large) in enumerate(zip(few[name].shape, more[name].shape, strict=True))
        ]
        grown = [(axis, step) for axis, step in steps if step > 0]
        if len(grown) != 1 or tensor.ndim != few[name].ndim:
            continue
        axis, step = grown[0]
        count, rest = divmod(tensor.shape[axis] - few[name].shape[axis], step)
        count += FEW
        if rest or not 1 <= count <= MAX_CLASSES:
            continue
        if class_names is not None and len(class_names) != count:
            what = f"expected {count} names, as {name} of the file is {tuple(tensor.shape)}"
            raise SettingError("class_names", what, len(class_names))
        return count
    if class_names is None:
        what = f"nothing in the file tells how many classes {quote(entry.name)} has"
        raise UsageError(what, fix="Name them with class_names=...")
    return len(class_names)


def _load(path: Path, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Give a model its tensors; return which were rounded, and how.

    Raises:
        WeightsError: some have another shape, values that are not finite or do not fit, or differ where the model has
            one tensor under two names.
    """
    expected = model.state_dict()
    wrong = [name for name, tensor in tensors.items() if tensor.shape != expected[name].shape]
    if wrong:
        shapes = [
            f"{name} is {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}" for name in wrong[:SHOWN]
        ]
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        what = f"{path} does not fit the model"
        fix = "It may be of other params, another input_shape=..., or another model"
        raise WeightsError(what, f"{len(wrong)} tensors have other shapes: {'; '.join(shapes)}{more}", fix)
    fitting: dict[str, Tensor] = {}
    rounded: dict[str, str] = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantized" if tensor.is_quantized else "without values" if tensor.is_meta else str(tensor.layout)
            raise WeightsError(f"{path}: tensor {quote(name)}", f"it is {kind}, expected plain numbers")
        check_finite(path, {name: tensor})
        fitting[name] = _fit(path, name, tensor, expected[name])
        if not torch.equal(fitting[name].to(tensor.dtype), tensor):
            rounded[name] = f"{name_dtype(tensor.dtype)} -> {name_dtype(expected[name].dtype)}"
    model.load_state_dict(as_state_dict(fitting, model), strict=False)
    loaded = model.state_dict()
    for name, tensor in fitting.items():
        if not torch.equal(loaded[name], tensor):
            why = "the model ties it to a tensor that has other values in the file"
            raise WeightsError(f"{path}: tensor {quote(name)}", why)
    return rounded


def _fit(path: Path, name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return a tensor in the dtype of the model's: floats as the nearest ones, all others only as they are."""
    if tensor.dtype == wanted.dtype:
        return tensor
    got = f"it is {name_dtype(tensor.dtype)} in the file and {name_dtype(wanted.dtype)} in the model"
    if tensor.is_complex() != wanted.is_complex():
        raise WeightsError(f"{path}: tensor {quote(name)}", got)
    fitting = tensor.to(wanted.dtype)
    both = tensor.is_floating_point() and wanted.is_floating_point()
    if both and not bool(torch.isfinite(fitting).all()):
        raise WeightsError(
            f"{path}: tensor {quote(name)}", f"{got}, which has no numbers as large as some of its values"
        )
    if not both and not torch.equal(fitting.to(tensor.dtype), tensor):
        raise WeightsError(f"{path}: tensor {quote(name)}", f"{got}, and its values do not fit")
    return fitting
