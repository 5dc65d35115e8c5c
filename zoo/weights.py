"""Weights: one safetensors file with the tensors under their plain names and one metadata key `zoo`, a JSON text.

The JSON says how to rebuild the model: by its registered name and params, never by an import path. Nothing in the file
is executed. Reading the header needs no torch.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import PluginError, SeveralErrors, UnknownNameError, UsageError, WeightsError, describe, quote
from zoo.factories import build_model, load_factory
from zoo.plugins import is_installed
from zoo.registry import Entry, Registry, choose_registry
from zoo.specs import ModelSpec
from zoo.storage import write_file

if TYPE_CHECKING:
    import torch
    from torch import nn

FILE_NAME = "weights.safetensors"
FORMAT = 1
"""The number of the metadata's form. A reader refuses a newer one and reads every older one."""
MAX_HEADER = 16_000_000


def save_weights(path: Path, model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write the model's state dict and the metadata, whole or not at all.

    Tensors that share memory (tied weights) are written under each of their names, so that any program can load the
    file with `load_state_dict`.

    Raises:
        WeightsError: the state dict holds something that is no tensor.
        StorageError: the file cannot be written.
    """
    import safetensors.torch
    import torch

    tensors = {}
    for name, value in model.state_dict().items():
        if not hasattr(value, "detach"):
            raise WeightsError(f"cannot save {path}", f"state {quote(name)} is a {type(value).__name__}, not a tensor")
        if value.layout != torch.strided or value.is_quantized or value.dtype == torch.complex128:
            kind = "quantized" if value.is_quantized else f"{value.layout} {value.dtype}"
            raise WeightsError(f"cannot save {path}", f"a safetensors file cannot hold {quote(name)} ({kind})")
        tensors[name] = value.detach().cpu().contiguous().clone()
    text = json.dumps({"format": FORMAT, **metadata}, allow_nan=False)
    write_file(path, safetensors.torch.save(tensors, metadata={"zoo": text}), what="weights")


def find_weights(reference: str | Path) -> Path:
    """Return the weights file that a path or a run folder means.

    Raises:
        WeightsError: there is none.
    """
    path = Path(reference)
    found = False
    # Too long a name, or the home of a user who does not exist, is no file either.
    with suppress(OSError, RuntimeError):
        path = path.expanduser()
        if path.is_dir():
            path = path / FILE_NAME
        found = path.is_file()
    if not found:
        raise WeightsError(f"no weights at {quote(path)}", "no such file", "Give a .safetensors file or a run folder")
    return path


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of `zoo` (empty when another program wrote the file) and the table of tensors.

    Raises:
        WeightsError: the file is not a whole safetensors file, or was written by a newer zoo.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise WeightsError(f"{path} is not a safetensors file", f"its header would be {length} bytes of {size}")
            table = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
        strings = table.pop("__metadata__", {}) if isinstance(table, dict) else None
        text = strings.get("zoo", "{}") if isinstance(strings, dict) else "null"
        metadata = json.loads(text, object_pairs_hook=_no_duplicates)
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no table")
        end = 8 + length + max((int(tensor["data_offsets"][1]) for tensor in table.values()), default=0)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", describe(error)) from error
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path} is not a safetensors file", f"its header is damaged ({describe(error)})") from error
    if end != size:
        raise WeightsError(f"{path} is incomplete", f"expected {end} bytes, got {size}", "Copy or download it again")
    found = metadata.get("format", FORMAT)
    if not isinstance(found, int) or found > FORMAT:
        raise WeightsError(
            f"{path} has format {found!r}", f"this zoo reads up to {FORMAT}", "Upgrade: pip install -U zoo-torch"
        )
    return metadata, table


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key appears twice")
    return table


def load_model(
    reference: str | Path,
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    device: str = "cpu",
) -> nn.Module:
    """Return the model that a weights file or run folder holds, rebuilt by name, in eval mode.

    Raises:
        WeightsError: the file is damaged, not zoo's, or does not fit the model.
        PluginError: the plugin that provides the model is missing or broken.
        DeviceError: the device is not here.
    """
    import safetensors
    import safetensors.torch

    from zoo.device import resolve_device, use_seed
    from zoo.params import resolve_params

    path = find_weights(reference)
    metadata, _ = read_header(path)
    _check_metadata(path, metadata)
    target = resolve_device(device)
    entry = _find_model(path, metadata, choose_registry(registry, plugins))
    try:
        params = resolve_params(entry.spec, load_factory(entry), metadata["params"])
    except (UsageError, SeveralErrors) as error:
        raise WeightsError(f"{path} does not fit model {quote(entry.name)}", str(error)) from error
    shape, classes = tuple(metadata["input_shape"]), len(metadata["class_names"])
    with use_seed(0):
        model = build_model(entry, input_shape=shape, num_classes=classes, params=params)
    try:
        # Read, not mapped: a mapped file that another process truncates or rewrites kills this one or its weights.
        tensors = safetensors.torch.load_file(path, backend="pread")
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read", describe(error)) from error
    _check_tensors(path, model, tensors)
    model.load_state_dict(tensors)
    return model.to(target).eval()


def _check_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that does not say how to rebuild a model: another program's, or changed by hand."""
    if "model" not in metadata:
        raise WeightsError(f"{path} was not written by zoo", "its metadata names no model")
    plugin, shape, names = (metadata.get(key) for key in ("plugin", "input_shape", "class_names"))
    checks = {
        "model": isinstance(metadata["model"], str),
        "plugin": isinstance(plugin, dict)
        and all(isinstance(plugin.get(key), str) for key in ("name", "version", "source")),
        "params": isinstance(metadata.get("params"), dict),
        "input_shape": isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape),
        "class_names": isinstance(names, list) and all(isinstance(name, str) for name in names),
    }
    for key, good in checks.items():
        if not good:
            raise WeightsError(f"{path} cannot be used", f"its metadata has no usable {quote(key)}")


def _find_model(path: Path, metadata: Mapping[str, Any], registry: Registry) -> Entry[ModelSpec]:
    name, plugin = metadata["model"], metadata["plugin"]
    try:
        return registry.get("model", f"{plugin['name']}/{name}")
    except UnknownNameError as error:
        if any(found.name == plugin["name"] for found in registry.plugins):
            raise PluginError(
                plugin["name"], plugin["version"], f"{path} needs its model {quote(name)}", str(error)
            ) from error
        what = f"{path} needs its model {quote(name)}"
        raise PluginError(
            plugin["name"], plugin["version"], what, "no such plugin here", _advise(plugin["name"], plugin["source"])
        ) from error


def _advise(name: str, source: str) -> str:
    """Return how to get at the plugin that a model came from."""
    if source == "installed":
        left_out = "It is installed but left out by --no-plugin or ZOO_DISABLE_PLUGINS"
        return left_out if is_installed(name) else f"pip install {name}"
    return f"Give it with --plugin {source}" if Path(source).is_absolute() else "Give it again: plugins= or registry="


def _check_tensors(path: Path, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    expected = model.state_dict()
    for what, names in (
        ("lacks", [name for name in expected if name not in tensors]),
        ("has unexpected", [name for name in tensors if name not in expected]),
    ):
        if names:
            raise WeightsError(
                f"{path} {what} {len(names)} of {len(expected)} tensors", f"the first is {quote(names[0])}"
            )
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            got = f"{tuple(tensor.shape)} {tensor.dtype} in the file, {tuple(wanted.shape)} {wanted.dtype} in the model"
            raise WeightsError(f"{path}: tensor {quote(name)}", got)
