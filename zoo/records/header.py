"""The header of a weights file, read and checked as a stranger's: no torch, nothing executed, limits before work.

What `safetensors` refuses is refused here too, by name. docs/reference/weights-format.md describes the file.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

from zoo.errors import WeightsError, show
from zoo.limits import MAX_AXES, MAX_HEADER, MAX_METADATA, MAX_TENSOR_NAME, MAX_TENSORS
from zoo.storage.reading import explain, open_regular

FORMAT = 2
"""The number of the metadata's form. A reader refuses a newer one and reads every older one."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How deep JSON may nest, and how many of three characters it may hold, which bounds time and memory to parse it.

    Brackets and commas inside of texts do not count.
    """

    depth: int
    quotes: int = 2_000_000
    brackets: int = 1_000_000
    commas: int = 1_000_000


HEADER_BOUNDS, METADATA_BOUNDS = Bounds(depth=3), Bounds(depth=32)

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F64": 64, "I64": 64, "U64": 64, "C64": 64}
BITS |= dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}

AGAIN = "Copy or download it again"
SAVE = "Load it where it comes from and save it with zoo.save"
CONVERT = "Make zoo weights of the state dict in it: zoo.convert('FILE', model='MODEL', output='NEW.safetensors')"
CODE = "which can run code; zoo does not load it"
TORCH_LEGACY = rb"\x80[\2-\5](\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\."
"""How files of torch before 1.6 begin: a pickle of a number of theirs."""
# How files of other kinds begin: the pattern, what the file is, what to do about it.
FOREIGN = (
    (rb"PK\x03\x04.{26}[^\0]{0,255}?data\.pkl", f"it is a PyTorch pickle archive, {CODE}", CONVERT),
    (TORCH_LEGACY, f"it is a PyTorch pickle of the old form, {CODE}", CONVERT),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "it is a zip archive", "Give the .safetensors file in it"),
    (rb"\x80[\0-\x05]|c[\w.]+\n[\w.]+\n[(pq]|\([dl]p\d+\n|[]}]q\0", f"it is a Python pickle, {CODE}", SAVE),
    (rb"(\xef\xbb\xbf)?\s*<[!?A-Za-z]", "it is a web page: a failed download?", "Download it again"),
    (rb"version https://git-lfs\.github\.com/", "it is a git-LFS pointer, not the file itself", "Run git lfs pull"),
    (rb"\x1f\x8b", "it is a gzip file", "Give the .safetensors file in it"),
    (rb"\x89HDF\r\n\x1a\n", "it is an HDF5 file", SAVE),
    (rb"\s*[{[][\t\r\n -~\x80-\xf4]*\Z", "it is JSON text", ""),
    (rb"[\t\r\n -~\x80-\xf4]+\Z", "it is plain text", ""),
)
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor: its dtype as safetensors names it, and where its bytes lie in the data section."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself: zoo's metadata (empty in another program's file), tensors in their order in it."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    data_start: int
    size: int


def read_header(path: Path) -> Header:
    """Read the header and check that the file is whole.

    Raises:
        WeightsError: the file cannot be read, is no safetensors file, is damaged, or was written by a newer zoo.
    """
    raw, size = _read_raw(path)
    return parse_header(path, raw, size)


def parse_header(path: Path, raw: bytes, size: int) -> Header:
    """Read the JSON of a header as `read_header` does; the file that it is of has `size` bytes."""
    if len(raw) > MAX_HEADER:
        raise WeightsError(
            f"{path} cannot be used", f"its header would be {len(raw)} bytes, expected up to {MAX_HEADER}"
        )
    try:
        table = _parse_text(raw, HEADER_BOUNDS)
        strings = table.pop("__metadata__", {})
        good = isinstance(strings, dict) and all(map(is_text, strings.values()))
        expect(good, "__metadata__: expected a table of texts", strings)
        tensors = _read_tensors(table)
    except ValueError as error:
        raise WeightsError(f"{path} is not a safetensors file", f"its header is damaged: {error}", AGAIN) from error
    start = 8 + len(raw)
    end = start + max((tensor.end for tensor in tensors.values()), default=0)
    if size < end:
        raise WeightsError(f"{path} is incomplete", f"has {size} of {end} bytes", AGAIN)
    if size > end:
        raise WeightsError(f"{path} has {size - end} extra bytes", f"expected {end} bytes, got {size}", AGAIN)
    metadata = _read_metadata(path, strings["zoo"]) if "zoo" in strings else {}
    return Header(metadata=metadata, tensors=tensors, data_start=start, size=size)


def _read_raw(path: Path) -> tuple[bytes, int]:
    """Return the JSON of the header and the size of the file."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = _check_start(path, file.read(1024), size)
            file.seek(8)
            raw = file.read(length)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read", explain(error), "Give a .safetensors file") from error
    if len(raw) < length:
        raise WeightsError(f"{path} is incomplete", "it was cut while it was read", AGAIN)
    return raw, size


def _check_start(path: Path, start: bytes, size: int) -> int:
    """Return the length of the header; name what is no safetensors file."""
    what, length = f"{path} is not a safetensors file", int.from_bytes(start[:8], "little")
    if len(start) < 8:
        raise WeightsError(what, f"it has only {size} bytes" if size else "it is empty", AGAIN)
    # A header length below 2 ** 24 leaves zeros before the `{`. No other kind of file begins so, whatever its first
    # bytes look like.
    if not (length < 2**24 and start[8:9] == b"{") and (kind := find_kind(start)):
        raise WeightsError(what, *kind)
    if not 2 <= length <= MAX_HEADER:
        raise WeightsError(what, f"its header would be {length} bytes, expected 2 to {MAX_HEADER}", AGAIN)
    if start[8:9] not in (b"{", b""):
        raise WeightsError(what, "its header does not begin with '{'", AGAIN)
    if 8 + length > size:
        raise WeightsError(f"{path} is incomplete", f"has {size} of at least {8 + length} bytes", AGAIN)
    return length


def find_kind(start: bytes) -> tuple[str, str] | None:
    """Return what a file of another kind is, told by its first 1024 bytes, and what to do about it."""
    return next(((why, fix) for pattern, why, fix in FOREIGN if re.match(pattern, start, re.DOTALL)), None)


def parse_json(raw: bytes, bounds: Bounds) -> Any:
    """Parse strict JSON: bounded before it is parsed, no key twice, finite numbers of a few digits.

    Raises:
        ValueError: it is something else; says what.
    """
    if raw.count(b'"') > bounds.quotes:
        raise ValueError("it holds too many texts")
    bare = STRING.sub(b"", raw)
    brackets = bare.translate(None, NO_BRACKETS)
    if bare.count(b",") > bounds.commas or len(brackets) > bounds.brackets:
        raise ValueError("it holds too many values")
    level = 0
    for bracket in brackets:
        level += 1 if bracket in b"[{" else -1
        if level > bounds.depth:
            raise ValueError(f"it nests deeper than {bounds.depth} levels")
    value = json.loads(
        raw.decode(), object_pairs_hook=_to_table, parse_int=_to_int, parse_float=_to_float, parse_constant=_to_float
    )
    return value


def _parse_text(raw: bytes, bounds: Bounds) -> Any:
    """Parse JSON whose texts must be whole characters, as every program that reads the file can have them."""
    value = parse_json(raw, bounds)
    if rb"\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()  # raises for one half of a surrogate pair
    return value


def _to_table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"key {show(name)} appears twice")
        table[name] = value
    return table


def _to_int(text: str) -> int:
    if len(text) > 21 or text == "-0":
        raise ValueError(f"number {show(text)} is out of range")
    return int(text)


def _to_float(text: str) -> float:
    if len(text) > 40 or not isfinite(value := float(text)):
        raise ValueError(f"number {show(text)} is out of range")
    return value


def _read_tensors(table: dict[str, Any]) -> dict[str, TensorInfo]:
    """Return the tensors in the order of their data, which has neither holes nor overlaps."""
    expect(len(table) <= MAX_TENSORS, f"expected at most {MAX_TENSORS} tensors", len(table))
    tensors = {name: _read_tensor(name, entry) for name, entry in table.items()}
    end = 0
    for name in sorted(tensors, key=lambda name: (tensors[name].start, tensors[name].end)):
        tensor = tensors[name] = tensors.pop(name)
        expect(tensor.start == end, f"tensor {show(name)}: expected its data to start at {end}", tensor.start)
        end = tensor.end
    return tensors


def _read_tensor(name: str, entry: Any) -> TensorInfo:
    where = f"tensor {show(name)}"
    expect(len(name) <= MAX_TENSOR_NAME and name.isprintable(), f"{where}: expected a printable name", name)
    good = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
    expect(good, f"{where}: expected dtype, shape and data_offsets", entry)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    expect(isinstance(dtype, str) and dtype in BITS, f"{where}: expected a dtype of safetensors", dtype)
    expect(are_sizes(shape, 0), f"{where}: expected a shape of sizes of at least 0", shape)
    # Sizes of 0 are counted as 1, so that the product of the other sizes must fit 64 bits by itself.
    expect(prod(size or 1 for size in shape) * BITS[dtype] < 2**63, f"{where}: expected a shape of 64 bits", shape)
    expect(are_sizes(offsets, 0) and len(offsets) == 2, f"{where}: expected data_offsets [start, end]", offsets)
    start, end = offsets
    bits = prod(shape) * BITS[dtype]
    expect(bits == 8 * (end - start), f"{where}: expected {bits / 8:.15g} bytes for {dtype} {shape}", end - start)
    return TensorInfo(dtype=dtype, shape=tuple(shape), start=start, end=end)


def _read_metadata(path: Path, text: str) -> dict[str, Any]:
    """Return zoo's own metadata, of a format that this zoo reads."""
    try:
        raw = text.encode()
        expect(len(raw) <= MAX_METADATA, f"expected at most {MAX_METADATA} bytes", len(raw))
        metadata: dict[str, Any] = _parse_text(raw, METADATA_BOUNDS)
        expect(isinstance(metadata, dict), "expected a table", metadata)
        number: Any = metadata.get("format")
        expect(type(number) is int and number >= 1, "format: expected a whole number of at least 1", number)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be used", f"its metadata is damaged: {error}", AGAIN) from error
    if number > FORMAT:
        versions = metadata.get("versions")
        by = f" of zoo {versions['zoo']}" if isinstance(versions, dict) and is_text(versions.get("zoo")) else ""
        why = f"this zoo reads up to {FORMAT}"
        raise WeightsError(f"{path} has format {number}{by}", why, "Upgrade: pip install -U zoo-torch")
    return metadata


def expect(good: object, what: str, got: object) -> None:
    """Raise a ValueError that says what was expected and got, unless it is good."""
    if not good:
        raise ValueError(f"{what}, got {show(got)}")


def is_text(value: object) -> bool:
    """Tell whether it is text."""
    return isinstance(value, str)


def are_sizes(value: object, low: int) -> bool:
    """Tell whether it is a list of whole numbers of at least `low`, no longer than a shape can be."""
    if not isinstance(value, list) or len(value) > MAX_AXES:
        return False
    return all(type(size) is int and size >= low for size in value)
