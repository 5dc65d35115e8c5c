"""Runs of a folder, summarised fast: what was read of their records is kept in `ZOO_HOME` until a record changes.

The folders of the runs are the truth. The index saves the time to read them: each record is looked at, and read again
where its times, its size or its number on the disk are not those of the index. An index that is damaged, missing or of
another zoo costs that time once more, and nothing else.
"""

from __future__ import annotations

import gc
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from zoo.errors import SettingError, StorageError
from zoo.limits import MAX_INDEX
from zoo.records.run_folder import DAMAGED, RECORD_FILE, RUNNING
from zoo.records.summary import ROW, Part, RunSummary, summarise
from zoo.storage.files import digest, write_file
from zoo.storage.folders import zoo_home
from zoo.storage.reading import explain, open_regular
from zoo.version import __version__

FORMAT = 2
"""The number of the form of an index and of what it keeps of a run."""
MOST_BEHIND = 32
"""Runs that may have changed since an index was written. Reading so many takes less time than writing it."""
TICK = 3.0
"""Seconds in which a file can change twice and keep its times: some file systems count in steps of two."""
HEAD = 100
"""Bytes of the first line of an index, at most."""
LONG = 100_000
"""Bytes of the facts of one run that are kept; a record with more is read each time."""
LEFT_OUT = (
    *("format", "history", "confusion", "per_class", "transfer", "frozen", "adapted", "verdict", "trend", "process"),
    *("metrics", "validation", "status"),
)
"""Parts of a record that are no facts: they are long, or the summary has them itself."""

Stamp = tuple[int, int, int, int]
Row = Sequence[Any]
"""The values of ROW, and of a run that says it is running its process, as its record has it."""
NEVER: Stamp = (0, 0, 0, 0)
"""The stamp of what must be read again."""


@dataclass(frozen=True)
class _Read:
    """What was read of a run just now: what an index keeps of it."""

    stamp: Stamp
    row: Row
    facts: bytes


@dataclass(frozen=True)
class _Index:
    """What is known of runs: of each a stamp of its record, a row, and a line with its facts as JSON."""

    stamps: Sequence[Stamp] = ()
    rows: Sequence[Row] = ()
    facts: _KeptFacts | None = None


class _KeptFacts:
    """The facts of the runs in an index, a line for each, read when one is asked for: most listings ask for none.

    Where they are not as they were written, the records are read again, and the index is made anew.
    """

    def __init__(self, runs_dir: Path, names: Sequence[str], start: int, checksum: int) -> None:
        self.runs_dir, self.names, self.start, self.checksum = runs_dir, names, start, checksum

    @cached_property
    def lines(self) -> Sequence[bytes]:
        with suppress(OSError, SettingError), open_regular(_find_place(self.runs_dir)) as file:
            file.seek(self.start)
            data = file.read(MAX_INDEX)
            if zlib.crc32(data) == self.checksum:
                return data.split(b"\n")
        # Another process may have written another index since this one was read; else it is damaged.
        index = _read_index(self.runs_dir)
        is_other = index.facts is not None and index.facts.checksum != self.checksum
        runs = {run.name: run.facts for run in _list_runs(self.runs_dir, index if is_other else _Index())}
        return [json.dumps(runs.get(name, {})).encode() for name in self.names]

    def __getitem__(self, number: int) -> bytes:
        return self.lines[number]


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """Return the runs of a folder with what became of them, the oldest first; those of no folder are none.

    A run is a folder with a record. It is listed as `damaged` where that cannot be read.

    Raises:
        StorageError: there is something else than a folder, or the system does not let it be read.
    """
    return _list_runs(runs_dir, _read_index(runs_dir))


def _list_runs(runs_dir: Path, index: _Index) -> list[RunSummary]:
    with uncollected():
        now = time.time()
        places = {row[0]: place for place, row in enumerate(index.rows)}
        known, fresh = list[int](), list[_Read]()
        for name, stamp in _find_stamps(runs_dir).items():
            place = places.get(name)
            if place is not None and index.stamps[place] == stamp != NEVER:
                known.append(place)
            else:
                fresh.append(_read_run(runs_dir, name, stamp, now))
        if len(fresh) + len(places) - len(known) > MOST_BEHIND:
            _write_index(runs_dir, index, known, fresh)
        parts: list[Part] = [(index.rows[place], index.facts or (), place) for place in known]
        parts += [(read.row, [read.facts], 0) for read in fresh]
        stamps = [*(index.stamps[place] for place in known), *(read.stamp for read in fresh)]
        for number, (row, _, _) in enumerate(parts):
            if row[1] == RUNNING:
                parts[number] = _look_again(runs_dir, parts[number], stamps[number])
        found = summarise(runs_dir, parts)
        # Of runs that started at the same time the one with the longer name is newer: NAME, NAME-2, ... NAME-10.
        found.sort(key=lambda run: (-inf if run.start is None else run.start, len(run.name), run.name))
        return found


def list_usable(runs_dir: Path) -> Iterator[RunSummary]:
    """Yield the finished runs that have their weights, the newest first."""
    return (run for run in reversed(list_runs(runs_dir)) if run.is_usable)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no garbage while many objects are made, none of which is any: it takes half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _find_stamps(runs_dir: Path) -> dict[str, Stamp]:
    """Return of each run what tells that its record has changed; raise StorageError where the folder cannot be read."""
    found, start, names = dict[str, Stamp](), f"{runs_dir}{os.sep}", list[str]()
    try:
        with os.scandir(runs_dir) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        pass  # nothing was ever run there
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot list the runs in {runs_dir}", explain(error), "Give another runs_dir=..."
        ) from error
    end = f"{os.sep}{RECORD_FILE}"
    for name in names:
        try:
            state = os.stat(f"{start}{name}{end}")  # noqa: PTH116 a Path for each of thousands takes long
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found[name] = NEVER
        else:
            found[name] = (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)
    return found


def _read_run(runs_dir: Path, name: str, stamp: Stamp, now: float) -> _Read:
    """Read the record of a run; the stamp is older than what is read, so a change meanwhile shows later."""
    # A record that changed just now may change once more and keep its times. One from the future may be of a clock that
    # was put back since, and be written again at the time that it has already.
    if max(stamp[:2]) / 1e9 > now - TICK:
        stamp = NEVER
    from zoo.records.runs import RunRecord, read_table

    try:
        table = read_table(runs_dir / name / RECORD_FILE)
        record = RunRecord.from_json(table)
    except (OSError, ValueError, RecursionError) as error:
        facts = json.dumps({"error": explain(error)}).encode()
        return _Read(stamp, [name, DAMAGED, None, "", "", 0, None, None, {}, {}], facts)
    epochs = record.train_config.get("epochs")
    row = [
        name,
        record.status or "",
        _read_start(record.started),
        record.plugin.qualify(record.model) if record.plugin and record.model else record.model or "",
        record.dataset.qualified_name if record.dataset else "",
        len(record.history),
        epochs if isinstance(epochs, int) else None,
        record.seconds,
        dict(record.metrics),
        dict(record.validation),
    ]
    if record.status == RUNNING:
        row.append(table.get("process"))
    facts = json.dumps(dict(_flatten({key: value for key, value in table.items() if key not in LEFT_OUT}))).encode()
    return _Read(stamp if len(facts) <= LONG else NEVER, row, facts)


def _read_start(started: str | None) -> float | None:
    """Return when a run started, in seconds: as text, times of two zones (summer and winter) would not sort."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(str(started)).timestamp()
    return None


def _flatten(table: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values in tables of tables, by their path."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{path}{key}.")
        elif isinstance(value, str | int | float):
            yield f"{path}{key}", value


def _look_again(runs_dir: Path, part: Part, stamp: Stamp) -> Part:
    """Return what is known of a run that says it is running, with what became of it."""
    from zoo.records.process import ProcessOrigin, is_process
    from zoo.records.runs import find_status

    row = part[0]
    said, path = row[len(ROW)], runs_dir / row[0] / RECORD_FILE
    touched = stamp[0] / 1e9
    if stamp == NEVER:
        with suppress(OSError):
            touched = path.stat().st_mtime
    status = find_status(ProcessOrigin.from_json(said) if is_process(said) else None, touched)
    if status != RUNNING:
        # Between the two looks the run may have come to its end.
        read = _read_run(runs_dir, row[0], NEVER, inf)
        if read.row[1] != RUNNING:
            return read.row, [read.facts], 0
    return [row[0], status, *row[2 : len(ROW)]], *part[1:]


def _find_place(runs_dir: Path) -> Path:
    """Return where the index of a folder is; those of other forms and other versions of zoo have other names."""
    folder = os.path.realpath(runs_dir)
    return zoo_home() / "cache" / f"runs-{digest(f'{folder}/{FORMAT}/{__version__}')[:16]}.index"


def _read_index(runs_dir: Path) -> _Index:
    """Return what is kept of the runs of a folder: nothing where that is missing, damaged or of another form."""
    try:
        with open_regular(_find_place(runs_dir)) as file:
            if os.fstat(file.fileno()).st_size > MAX_INDEX:
                return _Index()
            head, first = file.readline(HEAD), file.readline()
        facts_checksum = int(head[-9:], 16)
        if head != _make_head(first, facts_checksum):
            return _Index()
        kept = json.loads(first)
        stamps, rows = list(zip(*[iter(kept["stamps"])] * 4, strict=True)), kept["rows"]
        names = [row[0] for row in rows]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SettingError):
        return _Index()
    return _Index(stamps, rows, _KeptFacts(runs_dir, names, len(head) + len(first), facts_checksum))


def _make_head(first: bytes, facts_checksum: int) -> bytes:
    """Return the first line of an index, from which the others can be told to be whole: the next one, and the facts."""
    return f"zoo runs {FORMAT} {zlib.crc32(first):08x} {facts_checksum:08x}\n".encode()


def _write_index(runs_dir: Path, index: _Index, known: Sequence[int], fresh: Sequence[_Read]) -> None:
    """Keep what is known of the runs; where `ZOO_HOME` cannot be written, the next command finds it out again."""
    stamps = [*(index.stamps[place] for place in known), *(read.stamp for read in fresh)]
    rows = [*(index.rows[place] for place in known), *(read.row for read in fresh)]
    lines = [*((index.facts or ())[place] for place in known), *(read.facts for read in fresh)]
    kept = json.dumps({"stamps": [part for stamp in stamps for part in stamp], "rows": rows})
    first, facts = f"{kept}\n".encode(), b"\n".join(lines)
    with suppress(OSError, StorageError, SettingError):
        place = _find_place(runs_dir)
        place.parent.mkdir(parents=True, exist_ok=True)
        head = _make_head(first, zlib.crc32(facts))
        write_file(place, [head, first, facts], what="the index of the runs")
