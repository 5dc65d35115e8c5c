"""State dicts: the tensors in a file of another program, read without running anything that the file asks for.

A file of torch is a pickle, the one that zoo reads: with `torch.load(weights_only=True)`, which makes tensors and plain
data and refuses everything else.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from zoo.errors import OutOfMemoryError, SettingError, WeightsError, describe, is_out_of_memory, quote, suggest
from zoo.limits import MAX_PICKLE
from zoo.models.weights import read_tensors
from zoo.records.header import AGAIN, TORCH_LEGACY, find_kind, read_header
from zoo.storage.reading import explain, open_regular

AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema", "params_ema")
KEYS = (
    *AVERAGED,
    *("state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "params", "weights"),
)
"""Under which names checkpoints hold a state dict; the first one there counts, an average of the weights before them:
it is what such trainings are evaluated by."""
DEPTH = 4
"""Tables in tables in which a state dict may be."""
SHARD = re.compile(r".*-\d{5}-of-\d{5}\.\w+")
WHY = "whoever wrote the file would choose what it does here. zoo reads tensors and plain data only"
FIX = "In a program that trusts it, load it with torch.load(..., weights_only=False) and save its state dict alone"


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """The tensors of a file by their names.

    Fields:
        tensors: As the file has them: any dtype, values not looked at yet.
        key: Under which key of the file they were, `checkpoint/model` say; empty for the file itself.
        others: Further keys under which there are tensors that might have been meant.
        ignored: Names beside the tensors that hold none.
        digest: SHA-256 of the whole file.
    """

    tensors: Mapping[str, Tensor]
    key: str
    others: tuple[str, ...]
    ignored: tuple[str, ...]
    digest: str


def read_state_dict(path: Path, key: str | None = None) -> StateDict:
    """Return the state dict in a `.safetensors` file or in one that `torch.save` wrote.

    In a checkpoint it is looked for under `key`, or the first of KEYS that is there; else it is the file itself where
    that has tensors, else the only table in it that has.

    Raises:
        SettingError: there is no such key.
        WeightsError: the file is none of both, damaged, asks for code, or holds no state dict.
        OutOfMemoryError: it does not fit into memory.
    """
    try:
        with open_regular(path) as file:
            start = file.read(1024)
            content = _read_torch(path, file, start) if _is_torch(path, file, start) else None
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", explain(error), "Give a .safetensors or .pth file") from error
    if content is None:
        if key is not None:
            raise SettingError("key", f"{path} is a safetensors file, which has no tables", key, fix="Leave it out")
        read_header(path)
        content = read_tensors(path)
    return _find_state_dict(path, content, key, digest)


def refuse_folder(path: Path) -> None:
    """Refuse folders of other programs that hold weights in parts; a folder of zoo passes.

    Raises:
        WeightsError: says what the folder is and how one file is made of it.
    """
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    what = f"{path} is a folder, and one file is needed"
    if ".metadata" in names:
        fix = (
            f"Convert what this makes: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE.pth"
        )
        raise WeightsError(what, "it is a checkpoint of torch.distributed in parts", fix)
    if indexes := [name for name in names if name.endswith(".index.json")]:
        _refuse_index(path / indexes[0])
    known = [name for name in names if name.endswith((".safetensors", ".bin", ".pth", ".pt", ".ckpt"))]
    if known and "run.json" not in names:
        raise WeightsError(what, f"it has {', '.join(known[:5])}", f"Give the file: {path / known[0]}")


def _refuse_index(path: Path) -> NoReturn:
    why = "it is the index of weights in several files, and zoo reads one file"
    fix = "Load them with the library that they are of, and save their state dict as one file"
    raise WeightsError(f"{path} holds no tensors", why, fix)


def _is_torch(path: Path, file: BufferedReader, start: bytes) -> bool:
    """Tell whether a file is torch's, or safetensors; name what it is else."""
    if path.name.endswith(".index.json"):
        _refuse_index(path)
    if start.startswith(b"PK"):
        _check_archive(path, file)
        return True
    if re.match(TORCH_LEGACY, start, re.DOTALL):
        return True
    is_safetensors = len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**24
    if not is_safetensors and (kind := find_kind(start)):
        raise WeightsError(f"{path} holds no state dict", *kind)
    return False  # what is none of all, the reader of safetensors names


def _check_archive(path: Path, file: BufferedReader) -> None:
    """Refuse archives that are not torch's, or would become more than they are when they are read."""
    what = f"{path} holds no state dict"
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is damaged", f"it is no whole archive: {error}", AGAIN) from error
    inner = {entry.filename.partition("/")[2] for entry in entries}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        why = "it is a TorchScript archive: a program together with its weights"
        fix = "In a program that trusts it, save torch.jit.load(FILE).state_dict() with torch.save"
        raise WeightsError(what, why, fix)
    if "data.pkl" not in inner:
        kind = "a NumPy archive" if all(entry.filename.endswith(".npy") for entry in entries) else "a zip archive"
        raise WeightsError(what, f"it is {kind} that torch.save did not write", "Give the weights file that is in it")
    pickled = max(entry.file_size for entry in entries if entry.filename.endswith("data.pkl"))
    if pickled > MAX_PICKLE:
        raise WeightsError(f"{path} cannot be used", f"its pickle has {pickled} bytes, at most {MAX_PICKLE} are read")
    size = os.fstat(file.fileno()).st_size
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > size:
        raise WeightsError(f"{path} is damaged", "it becomes more than its size when it is read, as no file of torch")


def _read_torch(path: Path, file: BufferedReader, start: bytes) -> Any:
    """Return what a file of torch holds: tensors on the CPU, and plain data."""
    try:
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file leads to has many types
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"not enough memory for {path}", describe(error)) from error
        if wanted := _find_code(file, start, error):
            more = f" and {len(wanted) - 5} more" if len(wanted) > 5 else ""
            why = f"its pickle asks for {', '.join(wanted[:5])}{more}: that is code, and {WHY}"
            raise WeightsError(f"{path} is not read", why, FIX) from error
        said = re.search(r"WeightsUnpickler error: ([^\n]+)", str(error))
        raise WeightsError(
            f"{path} is damaged", said[1] if said else describe(error).partition(". ")[0], AGAIN
        ) from error


def _find_code(file: BufferedReader, start: bytes, error: Exception) -> list[str]:
    """Return what a pickle names that is neither tensors nor plain data: all of an archive, the first of old files."""
    if start.startswith(b"PK"):
        try:
            file.seek(0)
            if names := torch.serialization.get_unsafe_globals_in_checkpoint(file):
                return sorted(names)
        except Exception:  # noqa: BLE001 it is damaged besides
            pass
    return sorted({*re.findall(r"GLOBAL ([\w.]+)", str(error))})


def _find_state_dict(path: Path, content: Any, key: str | None, digest: str) -> StateDict:
    found, others = content, tuple[str, ...]()
    keys = [] if key is None else [key]
    if key is not None:
        found = _get_key(path, content, key)
    for _ in range(DEPTH):
        tables = _list_tables(found)
        chosen = next((name for name in KEYS if name in tables), None)
        if chosen is None and _has_tensors(found):
            break
        if chosen is None and len(tables) == 1:
            chosen = tables[0]
        if chosen is None:
            _refuse_content(path, found, tables)
        others = tuple(name for name in KEYS if name in tables and name != chosen)
        found = found[chosen]
        keys.append(str(chosen))
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    ignored = tuple(str(name) for name, value in found.items() if not isinstance(value, Tensor))
    return StateDict(tensors=tensors, key="/".join(keys), others=others, ignored=ignored, digest=digest)


def _get_key(path: Path, content: Any, key: str) -> Any:
    names = _list_tables(content)
    if key not in names:
        has = f"{path} has tensors under {', '.join(map(quote, names[:10]))}" if names else f"{path} has no tables"
        raise SettingError("key", has, key, fix=suggest(key, names, "Give one of them, or leave it out"))
    return content[key]


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(part, Tensor) for part in value.values())


def _list_tables(value: Any) -> list[str]:
    """Return the names under which a table has tables with tensors in them."""
    parts = value.items() if isinstance(value, Mapping) else ()
    return [name for name, part in parts if isinstance(name, str) and _leads_to_tensors(part)]


def _leads_to_tensors(value: Any) -> bool:
    """Tell whether a table has tensors under texts, itself or in tables in it: an optimizer's have numbers."""
    waiting, seen = [value], set[int]()
    while waiting:
        table = waiting.pop()
        if not isinstance(table, Mapping) or id(table) in seen:
            continue
        seen.add(id(table))  # a pickle may hold a table that holds itself
        named = {name: part for name, part in table.items() if isinstance(name, str)}
        if _has_tensors(named):
            return True
        waiting += named.values()
    return False


def _refuse_content(path: Path, content: Any, tables: Sequence[str]) -> NoReturn:
    what = f"{path} holds no state dict that is clear"
    if tables:
        names = ", ".join(map(quote, tables[:10]))
        raise WeightsError(what, f"it has tensors under {names}", "Say which: key=...")
    if isinstance(content, Mapping):
        names = ", ".join(quote(str(name)) for name in list(content)[:10]) or "nothing"
        raise WeightsError(what, f"it holds no tensors under names, only {names}")
    raise WeightsError(what, f"it holds a {type(content).__name__}, expected a table of tensors by name")
