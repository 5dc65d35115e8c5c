"""Run folders: one per training, never used again, with its settings, history and outcome in `run.json`."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.storage import create_folder, write_file

RECORD = "run.json"
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
    write_file(folder / RECORD, f"{text}\n".encode(), what="the record of the run")


def to_json_data(value: Any) -> Any:
    """Return `value` with tuples as lists and numbers that are not finite as None, as JSON has neither."""
    if isinstance(value, Mapping):
        return {str(key): to_json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_data(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
