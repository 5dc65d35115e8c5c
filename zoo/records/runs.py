"""Run folders: one per training, never used again, with its settings, history and outcome in `run.json`."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

from zoo.errors import (
    WeightsError,
    describe,
)
from zoo.records.header import expect, is_text
from zoo.storage.files import create_folder, write_file

RECORD_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
PREDICTIONS_FILE = "predictions.safetensors"
FORMAT = 1
# A list of plain numbers as indentation spreads it; a text has no line break of its own in JSON.
NUMBERS = re.compile(r"\[\n\s+([^\[\]{}\"]+?)\n\s*\]")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run gave: `metrics` are those after the last epoch, `seconds` the time of training and evaluating."""

    run: Path
    weights: Path
    model: str
    dataset: str
    device: str
    threads: int
    seed: int
    params: dict[str, Any]
    dataset_params: dict[str, Any]
    train_config: dict[str, Any]
    metrics: dict[str, float]
    history: list[dict[str, Any]]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        data: dict[str, Any] = to_json_data({**asdict(self), "run": str(self.run), "weights": str(self.weights)})
        return data


def create_run(runs: Path, model: str, dataset: str) -> Path:
    """Make a new folder named by time, model and data set.

    Raises:
        StorageError: it cannot be made.
    """
    name = re.sub(r"[^a-z0-9._-]", "-", f"{time.strftime('%Y%m%d-%H%M%S')}-{model}-{dataset}")
    return create_folder(runs, name)


def save_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write what is known of a run.

    Raises:
        StorageError: it cannot be written; the record before stays.
    """
    spread = json.dumps(to_json_data({"format": FORMAT, **record}), indent=2)
    text = NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", spread)
    write_file(folder / RECORD_FILE, f"{text}\n".encode(), what="the record of the run")


def to_json_data(value: Any) -> Any:
    """Return `value` with tuples as lists and numbers that are not finite as None, as JSON has neither."""
    if isinstance(value, Mapping):
        return {str(key): to_json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_data(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a run, its parts of the form that they are written in.

    Raises:
        WeightsError: it cannot be read, or was changed by hand.
    """
    try:
        record = json.loads(path.read_bytes())
        expect(isinstance(record, dict), "expected a table", record)
        for key, (form, good) in RECORD_FORMS.items():
            expect(key not in record or good(record[key]), f"{key}: expected {form}", record.get(key))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be used as the record of a run", describe(error)) from error
    return dict(record)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_scores(value: Any) -> bool:
    return _is_table(value) and all(score is None or _is_number(score) for score in value.values())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_epoch(value: Any) -> bool:
    return (
        _is_table(value)
        and type(value.get("epoch")) is int
        and all(_is_scores(value.get(key)) for key in ("train", "test", "seconds"))
    )


RECORD_FORMS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "history": ("a list of epochs", lambda value: isinstance(value, list) and all(map(_is_epoch, value))),
    "metrics": ("a table of numbers", _is_scores),
    "validation": ("a table of numbers", _is_scores),
    "train_config": ("a table", _is_table),
    "params": ("a table", _is_table),
    "dataset": ("a table with a name", lambda value: _is_table(value) and is_text(value.get("name"))),
    "versions": ("a table", _is_table),
    "seconds": ("a number", _is_number),
    **dict.fromkeys(("seed", "parameters"), ("a whole number", lambda value: type(value) is int)),
    **dict.fromkeys(("status", "started", "model", "device", "device_name"), ("text", is_text)),
}


def list_runs(runs_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the finished runs that have their weights, with their records, the oldest first."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for folder in _list_folders(runs_dir):
        with suppress(OSError, ValueError, RecursionError):
            if not (folder / RECORD_FILE).is_file():
                continue  # reading a pipe waits for its other end
            record = json.loads((folder / RECORD_FILE).read_bytes())
            if isinstance(record, dict) and record.get("status") == "finished" and (folder / WEIGHTS_FILE).is_file():
                found.append((folder, record))
    # Of runs started at one time the longer name is the newer: NAME, NAME-2, ... NAME-10.
    return sorted(found, key=lambda run: (_read_start(run[1]), len(run[0].name), run[0].name))


def _read_start(record: dict[str, Any]) -> float:
    """Return when a run started: as text, times of two zones (summer and winter) would not sort."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(str(record.get("started"))).timestamp()
    return -inf


def _list_folders(runs_dir: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(path for path in runs_dir.iterdir() if path.is_dir())
