"""Rebuild: the same data set in another process, whose texts have other hashes."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from zoo.checks.dataset.subject import choose_places, read_places
from zoo.checks.targets import find_target
from zoo.data.loading import build_dataset
from zoo.data.splits import DataSplits, count_samples
from zoo.errors import describe
from zoo.models.device import use_seed
from zoo.registry.entries import Entry, Registry
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.specs import DatasetSpec
from zoo.storage.processes import Process, Write

TIME_LIMIT = 120.0
"""Seconds that building it there may take."""

_running: list[Process] = []


def start() -> Process:
    """Return the other process; it is started once, since importing torch is most of its work."""
    if not _running or not _running[-1].is_running:
        stop()
        own = os.environ.get("PYTHONHASHSEED", "")
        _running.append(Process(_describe_here, {"PYTHONHASHSEED": "2" if own == "1" else "1"}))
    return _running[-1]


@atexit.register
def stop() -> None:
    """End the other process, if there is one, and wait for it."""
    while _running:
        _running.pop().close()


def can_ask(entry: Entry[DatasetSpec]) -> bool:
    """Tell whether another process finds this entry: one of an installed plugin, or of a file."""
    return entry.plugin.installed or isinstance(entry.plugin.source, str | Path)


def describe_elsewhere(entry: Entry[DatasetSpec], root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Return what `describe_splits` says there, or `{"error": text}`; raise TimeoutError after TIME_LIMIT seconds."""
    plugin = entry.plugin
    by_path = isinstance(plugin.source, Path) and not plugin.installed and plugin.name != FIRST_PARTY
    question = {
        "plugin": str(plugin.source) if by_path else "",
        "name": entry.qualified_name,
        "root": str(Path(root).absolute()),
        "params": params,
        "sys.path": [str(Path(path).absolute()) for path in sys.path],  # it may have changed since the start
    }
    try:
        return start().ask(question, TIME_LIMIT)
    except TimeoutError as error:
        raise TimeoutError(f"{error} there") from None
    except EOFError as error:
        return {"error": str(error)}


def describe_splits(splits: DataSplits) -> dict[str, Any]:
    """Return what must be the same in each process, as JSON data."""
    found = {}
    for name, split in splits.items():
        read = read_places(split, choose_places(split), name)
        found[name] = {"samples": count_samples(split), "read": [[digest.hex(), target] for digest, target in read]}
    return {"class_names": list(splits.class_names), "splits": found}


def _describe_here(question: dict[str, Any], write: Write) -> None:
    sys.path[:] = question["sys.path"]
    try:
        registry = find_target(Path(question["plugin"]))[0] if question["plugin"] else Registry.discover()
        entry = registry.get("dataset", question["name"])
        with use_seed(99):
            write(describe_splits(build_dataset(entry, root=Path(question["root"]), params=question["params"])))
    except BaseException as error:  # noqa: BLE001 code of a plugin may raise anything, also SystemExit
        write({"error": describe(error)})
