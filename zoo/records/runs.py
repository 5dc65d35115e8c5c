"""Records of runs: each training has a folder of its own, and its `run.json` says settings, history and outcome."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import WeightsError
from zoo.limits import MAX_RECORD
from zoo.records.forms import (
    Form,
    are_all,
    are_scores,
    are_values,
    is_file,
    is_list,
    is_number,
    is_recipe,
    is_table,
    is_whole,
)
from zoo.records.header import Bounds, expect, is_text, parse_json
from zoo.records.history import Epoch
from zoo.records.metadata import read_part
from zoo.records.origins import DatasetOrigin, FileOrigin, RecipeOrigin
from zoo.records.plain import to_json_table
from zoo.records.process import ProcessOrigin, is_process, is_running
from zoo.records.run_folder import KILLED, RECORD_FILE, RUNNING, SILENCE, UNKNOWN
from zoo.registry.origin import Origin
from zoo.storage.creation import create_folder
from zoo.storage.files import write_file
from zoo.storage.reading import explain, read_file

RECORD_FORMAT = 1
UPGRADE = "Upgrade: pip install -U zoo-torch"
"""The number of the form of `run.json`."""
RECORD_BOUNDS = Bounds(depth=32, quotes=8_000_000, brackets=4_000_000, commas=4_000_000)
"""What the JSON of a record may hold: as many epochs as its bytes have room for."""
# Matches a list of plain numbers that indentation has spread over lines. No text matches, since a line break in a text
# is written as an escape.
NUMBERS = re.compile(r"\[\n\s+([^\[\]{}\"]+?)\n\s*\]")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is known of a run, as its `run.json` says it. A key that is missing means that it is not known.

    Fields:
        recipe: The recipe that the training followed: `name`, `plugin`, and what it had otherwise as `changed`,
            `train.epochs` say. All of its values are in the other keys.
        init: The weights file that the training started from: its `path`, and the `digest` of its tensors.
        transfer: What the model took over from that file: `kept` tensors, `new` ones with the reason, `unused` ones.
        frozen: Shell patterns; parameters with such names were not trained, or only from the epoch on that
            `unfreeze_at` of `train_config` says.
        status: `running`, `finished`, `diverged`, `interrupted`, `failed`, or `pruned`, a trial of a sweep that was
            ended early. `running` is written before the first step. Read again, it is `killed` where the process is
            gone, or `unknown` where that cannot be told from this machine and the file was not touched for ten minutes:
            a run touches it once a minute.
        process: The process of the run: `host`, `boot`, `namespace`, `pid` and when it `started`, in ticks of the
            kernel since the boot.
        started: When the run began, in ISO 8601 with milliseconds and time zone.
        model: The bare name of the model.
        plugin: The plugin that provides it: `name`, `version` and `source`.
        params: The params that the model was built with, defaults included.
        dataset: `name`, `plugin`, `params`, `digest` (SHA-256 of all samples and class names) and `samples` of each
            split.
        metrics: The scores on the test split after the last finished epoch; `loss` is the mean cross-entropy. Where
            the training minimised the loss of a plugin, that is there under its own name. A score that was not finite
            is null.
        metric_plugins: The plugin of each metric, like `plugin`.
        metric_params: The params of each metric.
        loss_plugin: The plugin of the loss, like `plugin`; missing for cross-entropy, which is torch's own.
        train_config: The settings of the training as they were asked for; `memory_format` as it was chosen, where that
            was left to zoo.
        adapted: What was done to the images so that they fit the model, in words.
        seed: The seed of the initial weights and of the order of the samples.
        device: The device that trained, as torch names it.
        device_name: The model of an accelerator, else the kind of the device.
        threads: The CPU threads that trained.
        parameters: How many parameters the model has.
        versions: The versions of `zoo`, `torch`, `python` and of the package that the model's code is from.
        steps: How many steps an epoch has.
        history: A table for each epoch: `epoch` from 1 on, `lr`, the learning rate of its last step (not the head's,
            where `head_lr` gives that one of its own), `train` with the mean of what was minimised, `test` with the
            scores on the test split, `seconds` of both. What was minimised is called `loss` where it is cross-entropy,
            with whatever smoothing, weights of classes and mixed images the settings say; else it goes by the name of
            the loss, as in `metrics`.
        seconds: How long training and evaluating took together.
        peak_memory: The most bytes that the process had in memory from loading the data until the last evaluation; on
            a GPU those of tensors there. Left out where the system does not say.
        validation: The scores of the best epoch on the validation split, where there is one; `@best` goes by these.
        best: That epoch: its number `epoch`, the score `monitor` that chose it, and its `value`.
        confusion: How often each class was predicted for each: rows are targets, columns are predictions. Left out for
            more than 1000 classes.
        per_class: `name`, `support`, `precision`, `recall` and `f1` of each class on the test split. Left out likewise.
        verdict: What is wrong with the trained model as its predictions on the test split show it, in sentences.
        trend: Where the training was going, in sentences: still improving, overfitting or underfitting.
        resumed: Where the run went on from a checkpoint, a table for each time: `step`, how many batches it had been
            trained on, `at`, when, and `changed`, what was another environment. A run that began with the state of
            another one has its folder as `of`.
        error: What ended a run that did not finish, in words.
    """

    recipe: RecipeOrigin | None = None
    init: FileOrigin | None = None
    transfer: Mapping[str, Any] | None = None
    frozen: tuple[str, ...] = ()
    status: str | None = None
    process: ProcessOrigin | None = None
    started: str | None = None
    model: str | None = None
    plugin: Origin | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    dataset: DatasetOrigin | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    metric_plugins: Mapping[str, Origin] = field(default_factory=dict)
    metric_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    loss_plugin: Origin | None = None
    train_config: Mapping[str, Any] = field(default_factory=dict)
    adapted: tuple[str, ...] = ()
    seed: int | None = None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    parameters: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    steps: int | None = None
    history: Sequence[Epoch] = ()
    seconds: float | None = None
    peak_memory: int | None = None
    validation: Mapping[str, float | None] = field(default_factory=dict)
    best: Mapping[str, Any] = field(default_factory=dict)
    confusion: Sequence[Sequence[int]] = ()
    per_class: Sequence[Mapping[str, Any]] = ()
    verdict: tuple[str, ...] = ()
    trend: tuple[str, ...] = ()
    resumed: Sequence[Mapping[str, Any]] = ()
    error: str | None = None

    @property
    def trained(self) -> tuple[str, str] | None:
        """The model and the data set, each as `plugin/name`; None where the record does not name them."""
        if not self.model or not self.plugin or not self.dataset:
            return None
        return self.plugin.qualify(self.model), self.dataset.qualified_name

    @classmethod
    def from_json(cls, table: Any) -> RunRecord:
        """Read the table of a `run.json`.

        Keys that this zoo does not know are left out, and so are parts of a strange form that no result is made of.

        Raises:
            ValueError: it is of a newer format; or a part that results are made of has another form than it is written
                in: says which, what was expected and what is there.
        """
        expect(isinstance(table, dict), "expected a table", table)
        if type(number := table.get("format")) is int and number > RECORD_FORMAT:
            raise ValueError(f"it has format {number}, and this zoo reads up to {RECORD_FORMAT}. {UPGRADE}")
        for key, (form, good) in RECORD_FORMS.items():
            expect(key not in table or good(table[key]), f"{key}: expected {form}", table.get(key))
        known = {part.name for part in fields(cls)}
        parts = {
            key: read_part(key, value)
            for key, value in table.items()
            if key in known and (key not in OTHER_FORMS or OTHER_FORMS[key](value))
        }
        plugins = parts.get("metric_plugins", {}).items()
        named = {name: read_part("plugin", plugin) for name, plugin in plugins if OTHER_FORMS["plugin"](plugin)}
        return cls(**{**parts, "metric_plugins": named})

    def to_json(self) -> dict[str, Any]:
        """Return the table of a `run.json`; what is not known yet is left out."""
        empty: tuple[Any, ...] = (None, (), [], {})
        kept = {key: value for key, value in vars(self).items() if key not in WHERE_KNOWN or value not in empty}
        return to_json_table({"format": RECORD_FORMAT, **kept})


def create_run(runs: Path, model: str, dataset: str, name: str = "") -> Path:
    """Make a new folder of this name, else one of time, model and data set; raise StorageError when it cannot be made.

    Where it is taken, a number is added: `name-2`.
    """
    name = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{model}-{dataset}"
    return create_folder(runs, re.sub(r"[^a-z0-9._-]", "-", name))


def save_record(folder: Path, record: RunRecord) -> None:
    """Write what is known of a run; raise StorageError, and leave the record before, when that fails."""
    save_table(folder, record.to_json())


def read_record(path: Path) -> RunRecord:
    """Return the record of a run, its status as it is now.

    Raise WeightsError when it cannot be read or was changed by hand.
    """
    try:
        record = RunRecord.from_json(read_table(path))
        if record.status == RUNNING and (status := find_status(record.process, path.stat().st_mtime)) != RUNNING:
            # Between the two reads the run may have come to its end.
            record = RunRecord.from_json(read_table(path))
            return replace(record, status=status) if record.status == RUNNING else record
        return record
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be used as the record of a run", explain(error)) from error


def read_table(path: Path) -> Any:
    """Return the JSON of a record as it was written, of whatever form.

    Raises:
        OSError: it cannot be read.
        ValueError, RecursionError: it is no JSON, or goes beyond what a record needs.
    """
    return parse_json(read_file(path, MAX_RECORD), RECORD_BOUNDS)


def save_table(folder: Path, table: Mapping[str, Any]) -> None:
    """Write the table of a `run.json`; raise StorageError, and leave the one before, when that fails."""
    text = NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", json.dumps(table, indent=2))
    write_file(folder / RECORD_FILE, f"{text}\n".encode(), what="the record of the run")


def touch_record(folder: Path) -> None:
    """Show that a run goes on: its record is as new as now."""
    with suppress(OSError):
        os.utime(folder / RECORD_FILE)


def find_status(process: ProcessOrigin | None, touched: float) -> str:
    """Return what has become of a run whose record says that it is running, and was touched at that time."""
    running = is_running(process) if process else None
    if running is None:
        return UNKNOWN if time.time() - touched > SILENCE else RUNNING
    return RUNNING if running else KILLED


def _is_epoch(value: Any) -> bool:
    split = "validation" if isinstance(value, dict) and "validation" in value else "test"
    parts = {"epoch": is_whole, "train": are_scores, split: are_scores, "seconds": are_scores}
    return is_table(value, **parts) and is_number(value.get("lr", 0.0))


RECORD_FORMS: dict[str, tuple[str, Form]] = {
    "history": (
        "a list of epochs",
        are_all(_is_epoch),
    ),
    "dataset": ("a table with a name", partial(is_table, name=is_text)),
    "seconds": ("a number", is_number),
    **dict.fromkeys(("metrics", "validation"), ("a table of numbers", are_scores)),
    **dict.fromkeys(("train_config", "params", "versions"), ("a table", is_table)),
    **dict.fromkeys(("seed", "parameters"), ("a whole number", is_whole)),
    **dict.fromkeys(("status", "started", "model", "device", "device_name"), ("text", is_text)),
}
"""What each part must be that results are made of, in words and as a check."""
OTHER_FORMS: dict[str, Form] = {
    "recipe": is_recipe,
    "init": is_file,
    "process": is_process,
    **dict.fromkeys(("plugin", "loss_plugin"), partial(is_table, name=is_text)),
    "metric_params": are_values(is_table),
    "confusion": are_all(is_list),
    **dict.fromkeys(("per_class", "resumed"), are_all(is_table)),
    **dict.fromkeys(("threads", "steps", "peak_memory"), is_whole),
    "error": is_text,
    **dict.fromkeys(("frozen", "adapted", "verdict", "trend"), are_all(is_text)),
    **dict.fromkeys(("transfer", "metric_plugins", "best"), is_table),
}
"""The form of the other parts."""
WHERE_KNOWN = (
    "recipe",
    "init",
    "process",
    "transfer",
    "loss_plugin",
    "frozen",
    "seconds",
    "peak_memory",
    "validation",
    "best",
    "confusion",
    "per_class",
    "verdict",
    "trend",
    "resumed",
    "error",
)
"""What is left out where it is empty; the rest is written all the same, for people who read the file."""
