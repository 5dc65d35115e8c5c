"""Rebuild: the same data set in another process, whose texts have other hashes."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any, cast

from zoo.checks.dataset.reading import choose_places, read_places
from zoo.checks.targets import find_target
from zoo.data.loading import build_dataset
from zoo.data.splits import DataSplits, count_samples
from zoo.errors import describe
from zoo.models.device import use_seed
from zoo.registry.entries import Entry, Registry
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.specs import DatasetSpec
from zoo.storage.processes import open_channel, start_module

TIME_LIMIT = 120.0
"""Seconds that building it there may take."""

_running: list[subprocess.Popen[str]] = []


def start() -> subprocess.Popen[str]:
    """Return the other process; it is started once, since importing torch is most of its work."""
    if not _running or _running[-1].poll() is not None:
        own = os.environ.get("PYTHONHASHSEED", "")
        process = start_module(
            "zoo.checks.dataset.rebuild",
            environment={"PYTHONHASHSEED": "2" if own == "1" else "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        atexit.register(stop, process)
        _running[:] = [process]
    return _running[-1]


def stop(process: subprocess.Popen[str]) -> None:
    """End the other process and wait for it."""
    process.kill()
    process.communicate()


def can_ask(entry: Entry[DatasetSpec]) -> bool:
    """Tell whether another process finds this entry: one of an installed plugin, or of a file."""
    return entry.plugin.installed or isinstance(entry.plugin.source, str | Path)


def describe_elsewhere(entry: Entry[DatasetSpec], root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Return what `describe_splits` says in the other process, or `{"error": text}`.

    Raises:
        TimeoutError: it took more than TIME_LIMIT seconds.
    """
    plugin = entry.plugin
    by_path = isinstance(plugin.source, Path) and not plugin.installed and plugin.name != FIRST_PARTY
    asked = {
        "plugin": str(plugin.source) if by_path else "",
        "name": f"{plugin.name}/{entry.name}",
        "root": str(Path(root).absolute()),
        "params": params,
        "sys.path": [str(Path(path).absolute()) for path in sys.path],  # it may have changed since the start
    }
    process = start()
    stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    timer = Timer(TIME_LIMIT, process.kill)
    timer.start()
    try:
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        answer = stdout.readline()
    except OSError:
        answer = ""
    finally:
        late = not timer.is_alive()
        timer.cancel()
    if late:
        raise TimeoutError(f"it took more than {TIME_LIMIT:g} s there")
    return dict(json.loads(answer)) if answer else {"error": "it ended the process"}


def describe_splits(splits: DataSplits) -> dict[str, Any]:
    """Return what must be the same in each process, as JSON data."""
    found = {}
    for name, split in splits.items():
        total = count_samples(split)
        found[name] = {
            "samples": total,
            "read": [[digest.hex(), target] for digest, target in read_places(split, choose_places(total), name)],
        }
    return {"class_names": list(splits.class_names), "splits": found}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Build a data set and describe it."""
    sys.path[:] = asked["sys.path"]
    try:
        registry = find_target(Path(asked["plugin"]))[0] if asked["plugin"] else Registry.discover()
        with use_seed(99):
            splits = build_dataset(
                registry.get("dataset", asked["name"]), root=Path(asked["root"]), params=asked["params"]
            )
            return describe_splits(splits)
    except BaseException as error:  # noqa: BLE001 code of a plugin may raise anything, also SystemExit
        return {"error": describe(error)}


def main() -> None:
    """Answer one line of stdin after another; nothing a plugin prints gets among the answers."""
    channel = open_channel()
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            channel.write(json.dumps(answer(json.loads(line))) + "\n")
            channel.flush()


if __name__ == "__main__":
    main()
