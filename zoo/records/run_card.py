"""Card of a run: what a person wants to know of one, from its record and its folder, as rows of text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zoo.display import say_device, say_scores
from zoo.records.facts import Facts
from zoo.records.repeat import go_on, write_command
from zoo.records.run_folder import CHECKPOINT_PATTERN, CHECKPOINTS, ENDED, FINISHED, RECORD_FILE
from zoo.records.run_names import find_run
from zoo.records.runs import RunRecord, read_record
from zoo.registry.arguments import checked
from zoo.storage.folders import runs_dir as find_runs_dir
from zoo.storage.removal import measure, show_size


@checked
def runs_show(run: str | os.PathLike[str], *, runs_dir: str | Path | None = None) -> Facts:
    """Return what is known of a run: what became of it, its scores, its files, and the command that repeats it.

    Args:
        run: Its name, the beginning of it, its folder, or `@last`, the newest one.
        runs_dir: The folder of the runs. By default `ZOO_RUNS_DIR`, else `runs`.

    Raises:
        UsageError: there is no such run, or several begin so.
        WeightsError: its record cannot be read.
    """
    folder = find_run(run, find_runs_dir(runs_dir))
    record = read_record(folder / RECORD_FILE)
    command = write_command(record)
    files, checkpoints = _list_sizes(folder), _list_sizes(folder / CHECKPOINTS, CHECKPOINT_PATTERN)
    trained = " on ".join(filter(None, [record.model, record.dataset.name if record.dataset else None]))
    rows = [
        *_list_rows(record),
        *_name_first("files", [f"{name}, {show_size(size)}" for name, size in files.items() if name != CHECKPOINTS]),
        *_name_first("checkpoints", [f"{name}, {show_size(size)}" for name, size in checkpoints.items()]),
        ("go on with", go_on(folder, record) if checkpoints and record.status in ENDED else ""),
        ("repeat with", command or ""),
    ]
    data = {"run": str(folder), "record": record.to_json(), "files": files, "checkpoints": checkpoints}
    return Facts(
        title=f"{folder}: run of {trained}" if trained else f"{folder}: run",
        rows=tuple(row for row in rows if row[1]),
        data={**data, "repeat": command},
    )


def _list_rows(record: RunRecord) -> list[tuple[str, str]]:
    """Return what the record says, in the order in which it is asked for."""
    asked, best = record.train_config.get("epochs", "?"), record.best
    epochs = f"{len(record.history)}" if len(record.history) == asked else f"{len(record.history)} of {asked}"
    is_done = record.status == FINISHED
    scores = say_scores(record.metrics)
    return [
        ("status", record.status or ""),
        ("error", record.error or ""),
        ("started", (record.started or "").replace("T", " ")),
        ("took", "" if record.seconds is None else f"{record.seconds:.1f} s"),
        ("memory", "" if record.peak_memory is None else f"{show_size(record.peak_memory)} at most"),
        ("epochs", epochs),
        ("best epoch", f"{best['epoch']} by {best.get('monitor')}" if best.get("epoch") is not None else ""),
        ("validation", say_scores(record.validation)),
        ("test", scores if is_done or not scores else f"{scores}, after epoch {len(record.history)}"),
        ("recipe", record.recipe.qualified_name if record.recipe else ""),
        ("started from", record.init.path if record.init else ""),
        ("seed", "" if record.seed is None else str(record.seed)),
        ("device", _show_device(record)),
        ("parameters", "" if record.parameters is None else f"{record.parameters:,}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
        *_name_first("verdict", record.verdict),
        *_name_first("trend", record.trend),
    ]


def _show_device(record: RunRecord) -> str:
    return say_device(record.device or "", record.threads, record.train_config)


def _name_first(name: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return rows for several things of a kind, the name before the first one."""
    return [(name if number == 0 else "", text) for number, text in enumerate(texts)]


def _list_sizes(folder: Path, pattern: str = "[!.]*") -> dict[str, int]:
    """Return the bytes of what is in a folder, and of folders with all that is in them, by name."""
    found = dict[str, int]()
    for path in sorted(folder.glob(pattern)):
        with suppress(OSError):
            found[path.name] = measure(path)
    return found
