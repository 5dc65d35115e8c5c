"""Weights: one safetensors file with the tensors under their plain names and one metadata key `zoo`, a JSON text.

The JSON says how to rebuild the model: by its registered name and params, never by an import path. Nothing in the file
is executed. docs/reference/weights-format.md describes it; `zoo.records.header` checks what a stranger's file says.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import (
    PluginError,
    SeveralErrors,
    StorageError,
    UsageError,
    WeightsError,
    describe,
    quote,
)
from zoo.limits import MODEL_FACTOR, MODEL_SPARE
from zoo.models.provider import find_model
from zoo.models.state import as_state_dict
from zoo.records.header import FORMAT, Header, read_header
from zoo.records.metadata import WeightsMetadata
from zoo.records.plain import hash_json
from zoo.registry.entries import Registry
from zoo.registry.factories import build_model, load_factory
from zoo.storage.files import ELSEWHERE, write_file
from zoo.storage.reading import explain, open_regular

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {
    **{"F64": "float64", "I64": "int64", "U64": "uint64", "C64": "complex64", "F32": "float32", "I32": "int32"},
    **{"U32": "uint32", "F16": "float16", "BF16": "bfloat16", "I16": "int16", "U16": "uint16", "I8": "int8"},
    **{"U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"},
}
"""Names of dtypes in a safetensors file, and in torch."""
REFUSALS = (ValueError, TypeError, RuntimeError, ArithmeticError)
"""What factories raise for params that they cannot use, and layers of torch for sizes that they cannot have."""
Stored = tuple[str, str, list[int], memoryview]
"""Name, dtype, shape and bytes of a tensor."""
SEALED = ("model", "params", "input_shape", "image", "class_names", "preprocess")
"""What of the metadata a prediction depends on: each has a digest, so that a change is told by its name."""


def save_weights(
    path: Path, model: nn.Module, metadata: WeightsMetadata, *, check: Callable[[Path], None] | None = None
) -> None:
    """Write the model's state dict and the metadata, whole or not at all; `check` gets the file before it counts.

    The file goes to other machines: of what was read on this one it holds names, no folders.

    Raises:
        WeightsError: the state dict holds something that is no tensor.
        StorageError: the file cannot be written.
    """
    save_table(path, model, metadata.without_folders().to_json(), check=check)


def save_table(
    path: Path, model: nn.Module, table: Mapping[str, Any], *, check: Callable[[Path], None] | None = None
) -> None:
    """Write the model's state dict and a table of metadata as `save_weights` does, with the digests of both.

    Tensors that share memory (tied weights) are written under each of their names, so that any program can load the
    file with `load_state_dict`.
    """
    data = list_tensors(path, model)
    # Hashing takes about as long as writing, so both go on at once. The digest is put into the header at the end.
    with ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(hash_parts, [raw for *_, raw in data])
        header = make_header(data, table)

        def finish(part: Path) -> None:
            final = make_header(data, table, hashing.result())
            try:
                with part.open("rb+") as file:
                    file.write(final)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise StorageError(f"cannot save weights to {path}", describe(error), ELSEWHERE) from error
            if check is not None:
                check(part)

        write_file(path, [header, *(raw for *_, raw in data)], what="weights", check=finish)


def list_tensors(path: Path, model: nn.Module) -> list[Stored]:
    """Return the tensors of the state dict, the widest dtypes first, so all aligned; raise WeightsError for others."""
    return store_tensors(path, model.state_dict())


def store_tensors(path: Path, tensors: Mapping[str, Any]) -> list[Stored]:
    """Return tensors as a file holds them, the widest dtypes first; raise WeightsError for what it cannot hold."""
    import torch

    names = {getattr(torch, name): short for short, name in DTYPES.items()}
    found: list[tuple[int, Stored]] = []
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"cannot save {path}", f"state {quote(name)} is a {type(value).__name__}, not a tensor")
        if value.layout != torch.strided or value.is_quantized or value.dtype not in names:
            kind = "quantized" if value.is_quantized else f"{value.layout} {value.dtype}"
            raise WeightsError(f"cannot save {path}", f"a safetensors file cannot hold {quote(name)} ({kind})")
        tensor = value.detach().cpu().contiguous()
        raw = tensor.reshape(-1).view(torch.uint8).numpy().data
        found.append((-tensor.element_size(), (name, names[tensor.dtype], list(tensor.shape), raw)))
    return [tensor for _, tensor in sorted(found, key=lambda item: (item[0], item[1][0]))]


def make_header(data: Sequence[Stored], metadata: Mapping[str, Any], digest: str = "0" * 64) -> bytes:
    """Return the header of a safetensors file, its length first; `digest` is that of the tensors, when it is known."""
    sealed = {key: hash_json(metadata[key]) for key in SEALED if key in metadata}
    told = {"format": FORMAT, **metadata, "digests": {"tensors": digest, **sealed}}
    return pack_header(data, {"zoo": json.dumps(told, allow_nan=False)})


def pack_header(data: Sequence[Stored], metadata: Mapping[str, str]) -> bytes:
    """Return the header of a safetensors file, its length first, with texts as its metadata."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, dtype, shape, raw in data:
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + len(raw)]}
        start += len(raw)
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


def hash_parts(parts: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 of parts, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def check_digests(path: Path, header: Header) -> None:
    """Compare tensors and metadata with the digests in the file; raise WeightsError that names what has changed."""
    digests = header.metadata.get("digests") or {}
    for key, digest in digests.items():
        if key != "tensors" and hash_json(header.metadata.get(key)) != digest:
            raise WeightsError(f"{path} has changed since it was saved", f"its {key} is not what was saved")
    if "tensors" in digests and hash_tensors(path, header) != digests["tensors"]:
        raise WeightsError(f"{path} has changed since it was saved", "its tensors are not what was saved")


def hash_tensors(path: Path, header: Header) -> str:
    """Return the SHA-256 of the tensors as they are now; raise WeightsError where the file cannot be read."""
    try:
        with open_regular(path) as file:
            file.seek(header.data_start)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", explain(error)) from error


def read_model(path: Path, metadata: WeightsMetadata, registry: Registry, *, mapped: bool = False) -> nn.Module:
    """Rebuild the model of a file by its registered name and give it the file's tensors; on the CPU, in eval mode.

    `mapped` leaves the tensors in the file: quicker, and only right for a file that nobody else can change.

    Raises:
        WeightsError: the file does not fit the model.
        PluginError: the plugin that provides the model is missing or broken.
    """
    header = read_header(path)
    model = rebuild_model(path, metadata, registry, size=header.size - header.data_start)
    _check_header(path, model, header)
    load_tensors(path, model, read_tensors(path, mapped=mapped))
    return model.eval()


def rebuild_model(path: Path, metadata: WeightsMetadata, registry: Registry, *, size: int) -> nn.Module:
    """Build the model that a file with tensors of `size` bytes names, with values that mean nothing yet.

    The errors are those of `read_model`; one is a model that asks for far more memory than the tensors have.
    """
    from zoo.models.device import use_seed
    from zoo.models.rebuilding import Rebuilding
    from zoo.registry.params import resolve_params

    entry = find_model(path, metadata, registry)
    try:
        params = resolve_params(entry.spec, load_factory(entry), metadata.params)
    except (UsageError, SeveralErrors) as error:
        raise WeightsError(f"{path} does not fit model {quote(entry.name)}", str(error)) from error
    shape, classes = metadata.input_shape, len(metadata.class_names)
    try:
        with use_seed(0), Rebuilding(path, MODEL_FACTOR * size + MODEL_SPARE):
            return build_model(entry, input_shape=shape, num_classes=classes, params=params)
    except PluginError as error:
        # zoo's own models work, so the file says something that they cannot be built for.
        of_params = bool(metadata.params) and isinstance(error.__cause__, REFUSALS)
        if of_params or entry.is_first_party:
            raise WeightsError(f"{path} does not fit model {quote(entry.name)}", str(error)) from error
        raise


def _check_header(path: Path, model: nn.Module, header: Header) -> None:
    """Compare names and shapes with those of the model before the tensors are read, however many bytes they have."""
    expected = model.state_dict()
    _check_names(path, expected, header.tensors)
    for name, info in header.tensors.items():
        wanted = expected[name]
        if info.shape != tuple(getattr(wanted, "shape", info.shape)):
            dtype = f"torch.{DTYPES.get(info.dtype, info.dtype)}"
            got = f"{info.shape} {dtype} in the file, {tuple(wanted.shape)} {wanted.dtype} in the model"
            raise WeightsError(f"{path}: tensor {quote(name)}", got)


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, torch.Tensor]:
    """Return the tensors of a file; raise WeightsError where it cannot be read or a value is not finite."""
    import safetensors
    import safetensors.torch

    try:
        # Mapping is quicker, but a mapped file that another process truncates ends this one, and a rewritten file
        # changes the tensors.
        tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(path, backend="mmap" if mapped else "pread")
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read", describe(error)) from error
    check_finite(path, tensors)
    return tensors


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise WeightsError where a value is not finite."""
    import torch

    for name, tensor in tensors.items():
        # A sum is much quicker to check than each value, and it is finite when all values are, unless it overflows.
        if (tensor.is_floating_point() or tensor.is_complex()) and not torch.isfinite(tensor.sum()):
            count = int((~torch.isfinite(tensor)).sum())
            if count:
                raise WeightsError(f"{path}: tensor {quote(name)}", f"{count} of its values are not finite")


def load_tensors(path: Path, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a model its tensors, all of them or none.

    Raises:
        WeightsError: one is missing, unexpected, of another shape, or of a dtype that cannot become the model's.
    """
    expected = model.state_dict()
    _check_names(path, expected, tensors)
    fitting = {name: fit_tensor(path, name, tensor, expected[name]) for name, tensor in tensors.items()}
    places = [tensor.data_ptr() for tensor in expected.values() if tensor.numel()]
    # Assigning would untie tied tensors; copying values into them keeps them tied.
    model.load_state_dict(as_state_dict(fitting, model), assign=len(set(places)) == len(places))


def _check_names(path: Path, expected: Collection[str], names: Collection[str]) -> None:
    for what, wrong in (
        ("lacks", [name for name in expected if name not in names]),
        ("has unexpected", [name for name in names if name not in expected]),
    ):
        if wrong:
            counted = f"{what} {len(wrong)} of {len(expected)} tensors"
            raise WeightsError(f"{path} {counted}", f"the first is {quote(wrong[0])}")


def fit_tensor(path: Path, name: str, tensor: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the dtype of the model's; raise WeightsError for another shape or values that do not fit."""
    import torch

    got = f"{tuple(tensor.shape)} {tensor.dtype} in the file, {tuple(wanted.shape)} {wanted.dtype} in the model"
    if tensor.shape != wanted.shape:
        raise WeightsError(f"{path}: tensor {quote(name)}", got)
    if tensor.dtype == wanted.dtype:
        return tensor
    same_kind = tensor.is_floating_point() == wanted.is_floating_point() and tensor.is_complex() == wanted.is_complex()
    fitting = tensor.to(wanted.dtype) if same_kind else tensor
    if not same_kind or not torch.equal(fitting.to(tensor.dtype), tensor):
        raise WeightsError(f"{path}: tensor {quote(name)}", f"{got}, and its values do not fit")
    return fitting
