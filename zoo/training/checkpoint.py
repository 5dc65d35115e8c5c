"""Checkpoints: the state of a training in a folder of its own, whole or not at all, without pickle.

A checkpoint is `RUN/checkpoints/step-00001234/`: `state.safetensors` has the tensors, `state.json` all else, and
`MANIFEST.json`, written last, the size and the SHA-256 of both. The folder gets its name when all of it is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import StorageError, WeightsError
from zoo.models.weights import hash_parts, pack_header, store_tensors
from zoo.records.header import Bounds, parse_json
from zoo.records.run_folder import CHECKPOINTS
from zoo.records.runs import UPGRADE, RunRecord
from zoo.storage.creation import write_folder
from zoo.storage.reading import explain, read_file

log = logging.getLogger("zoo")

NAME = re.compile(r"step-(\d{8,12})(?:-(\d{1,4}))?", re.ASCII)
MANIFEST_FILE, STATE_FILE, TENSORS_FILE = "MANIFEST.json", "state.json", "state.safetensors"
DAMAGED_FILE = "DAMAGED.txt"
"""Says why a checkpoint could not be used; it lies in one that was tried, which then is never counted or removed."""
FORMAT = 1
KEPT = 2
"""The newest checkpoints of a run that are kept: the last one may be damaged by what ended the process."""
MAX_STATE, MAX_TENSORS = 1 << 30, 1 << 40
BOUNDS = Bounds(depth=64, quotes=50_000_000, brackets=50_000_000, commas=50_000_000)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training between two of its steps.

    Fields:
        step: How many batches it has been trained on.
        state: What `Trainer.state` returned.
        record: What the run's record said, without its history: the settings, the data, the versions.
        course_style: Whether the course's averages are among the scores.
        seconds: How long the run had taken.
    """

    step: int
    state: Mapping[str, Any]
    record: RunRecord
    course_style: bool
    seconds: float


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint of a run and return its folder; the oldest beyond KEPT go, but for those known to be damaged.

    Raises:
        StorageError: it cannot be written; those that are there stay.
    """
    tensors: dict[str, Tensor] = {}
    tree = {"state": _encode(checkpoint.state, tensors), "record": checkpoint.record.to_json()}
    plain = {name: getattr(checkpoint, name) for name in ("step", "course_style", "seconds")}
    told = {"format": FORMAT, **plain, **tree}
    for left in (run / CHECKPOINTS).glob(".step-*.part"):  # by a process that was killed: one at a time trains a run
        shutil.rmtree(left, ignore_errors=True)
    stored = store_tensors(run / CHECKPOINTS / TENSORS_FILE, tensors)
    files: dict[str, Sequence[bytes | memoryview]] = {
        TENSORS_FILE: [pack_header(stored, {"zoo": "checkpoint"}), *(raw for *_, raw in stored)],
        STATE_FILE: [json.dumps(told, allow_nan=False).encode()],
    }
    with ThreadPoolExecutor(1) as pool:  # hashing takes about as long as writing: both go on at once
        hashing = {name: pool.submit(hash_parts, data) for name, data in files.items()}

        def make_manifest() -> Iterator[bytes]:
            table = {
                name: {"size": sum(map(len, data)), "sha256": hashing[name].result()} for name, data in files.items()
            }
            yield json.dumps({"format": FORMAT, "files": table}, indent=2).encode()

        written = {**files, MANIFEST_FILE: make_manifest()}
        folder = write_folder(run / CHECKPOINTS, f"step-{checkpoint.step:08d}", written.items(), what="a checkpoint")
    for old in [old for old in list_checkpoints(run) if not (old / DAMAGED_FILE).exists()][KEPT:]:
        remove_checkpoint(old)
    return folder


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, its manifest first, so that what a kill leaves is none; what cannot be removed stays."""
    with suppress(OSError):
        (folder / MANIFEST_FILE).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run that have a manifest, the newest first."""
    found: list[tuple[tuple[int, int], Path]] = []
    with suppress(OSError):
        for folder in (run / CHECKPOINTS).iterdir():
            if (match := NAME.fullmatch(folder.name)) and (folder / MANIFEST_FILE).is_file():
                found.append(((int(match[1]), int(match[2] or 1)), folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def find_checkpoint(run: Path) -> Checkpoint:
    """Return the newest checkpoint of a run that is whole; damaged ones are warned of and stay.

    Raises:
        WeightsError: there is none, or it is of a newer zoo.
    """
    damaged: dict[Path, str] = {}
    for folder in list_checkpoints(run):
        try:
            found = read_checkpoint(folder)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            damaged[folder] = str(error) if isinstance(error, ValueError) else explain(error)
            continue
        for other, why in damaged.items():
            log.warning("%s: %s is damaged (%s); the run goes on from step %d", run, other.name, why, found.step)
        for path, why in ({folder: ""} | damaged).items():
            with suppress(OSError):  # where nothing can be written nothing is removed either
                _mark(path, why)
        return found
    told = "; ".join(f"{folder.name} is damaged ({why})" for folder, why in damaged.items())
    fix = f"Begin anew: zoo runs show {shlex.quote(run.name)} has the command"
    raise WeightsError(f"no usable checkpoint in {run}", told or "it has none", fix)


def _mark(folder: Path, why: str) -> None:
    """Say in a checkpoint why it cannot be used, so that it is kept; of one that can be used take that away."""
    if why:
        (folder / DAMAGED_FILE).write_text(f"{why}\n", encoding="utf-8", errors="replace")
    else:
        (folder / DAMAGED_FILE).unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and compare it with its manifest.

    Raises:
        WeightsError: it is of a newer zoo.
        OSError, ValueError, KeyError, TypeError: it is damaged.
    """
    from safetensors.torch import load

    manifest = parse_json(read_file(folder / MANIFEST_FILE, MAX_STATE), BOUNDS)
    if not 1 <= manifest["format"] <= FORMAT:
        raise WeightsError(f"{folder} has format {manifest['format']}", f"this zoo reads up to {FORMAT}", UPGRADE)
    data = {}
    for name, most in ((STATE_FILE, MAX_STATE), (TENSORS_FILE, MAX_TENSORS)):
        content, known = read_file(folder / name, most), manifest["files"][name]
        if len(content) != known["size"] or hashlib.sha256(content).hexdigest() != known["sha256"]:
            raise ValueError(f"{name} is not what {MANIFEST_FILE} says")
        data[name] = content
    told = parse_json(data[STATE_FILE], BOUNDS)
    return Checkpoint(
        step=told["step"],
        course_style=told["course_style"],
        seconds=told["seconds"],
        record=RunRecord.from_json(told["record"]),
        state=_decode(told["state"], load(data[TENSORS_FILE])),
    )


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON, its tensors put into `tensors`: tables keep keys that are numbers, tuples stay tuples."""
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}"
        tensors[name] = value.contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"table": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return {"float": repr(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise StorageError("cannot save a checkpoint", f"the state of the training has a {type(value).__name__}")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_encode` was given."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "table":
            return {key: _decode(item, tensors) for key, item in content}
        case "tuple":
            return tuple(_decode(item, tensors) for item in content)
        case "float":
            return float(content)
    raise ValueError(f"{STATE_FILE} has a value of unknown kind {kind!r}")
