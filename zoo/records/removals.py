"""Removals: runs that are not wanted any more, and what runs have left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.display import say
from zoo.errors import UsageError
from zoo.records.run_folder import (
    CHECKPOINT_PATTERN,
    CHECKPOINTS,
    ENDED,
    FINISHED,
    LAST_FILE,
    RUNNING,
    UNKNOWN,
    WEIGHTS_FILE,
)
from zoo.records.run_index import list_runs
from zoo.records.run_names import find_own_run, find_status, hold_run
from zoo.registry.arguments import checked
from zoo.storage.files import find_stale_parts
from zoo.storage.folders import runs_dir as find_runs_dir
from zoo.storage.locks import LockHeldError
from zoo.storage.removal import measure, remove, show_size

DAY = 24 * 3600


@dataclass(frozen=True, kw_only=True, repr=False)
class RunRemoval:
    """A file or folder that can be removed, or was: where it is, how many bytes it takes, and what it is."""

    path: Path
    size: int
    what: str

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"path": str(self.path), "size": self.size, "what": self.what}

    def __repr__(self) -> str:
        return say("RunRemoval", self.path, show_size(self.size), self.what)


@checked
def runs_remove(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    yes: bool = False,
    runs_dir: str | Path | None = None,
) -> tuple[RunRemoval, ...]:
    """Remove runs with all that is in their folders, and return what was removed. Of a link the link alone goes.

    Args:
        runs: Their names, or for one run its name alone: the whole name, the beginning of it, its folder, or `@last`.
        yes: What `--yes` is on the command line; without it nothing is removed.
        runs_dir: The folder of the runs. By default `ZOO_RUNS_DIR`, else `runs`.

    Raises:
        UsageError: there is no such run, or nobody said yes.
        StorageError: a run is still running, and nothing was removed; or one cannot be removed.
    """
    folder = find_runs_dir(runs_dir)
    asked = [runs] if isinstance(runs, str | os.PathLike) else runs
    found = list(dict.fromkeys(find_own_run(run, folder, "removed") for run in asked))
    if not found:
        raise UsageError("no run to remove", fix="Give its name; see: zoo runs")
    with ExitStack() as held:
        for run in found:
            held.enter_context(hold_run(run, "removed", changes=yes))
        removals = tuple(RunRemoval(path=run, size=measure(run), what=_tell_run(run)) for run in found)
        if not yes:
            what = f"{len(removals)} run{'' if len(removals) == 1 else 's'}, {_show_total(removals)}"
            told = ", ".join(f"{each.path.name} ({each.what}, {show_size(each.size)})" for each in removals)
            raise UsageError(f"nothing was removed: {what}", told, "Say yes=True to remove that")
        for each in removals:
            remove(each.path)
    return removals


@checked
def runs_clean(*, yes: bool = False, runs_dir: str | Path | None = None) -> tuple[RunRemoval, ...]:
    """Return what runs have left behind and nobody needs, and remove it where somebody says yes.

    That is: files that were never written to their end, a day old, of processes that are gone; folders of runs that
    were stopped, failed or killed and hold neither weights nor a checkpoint; the checkpoints of finished runs. A run
    that can go on, or left weights, stays: `runs_remove` takes it away.

    Args:
        yes: Remove it.
        runs_dir: The folder of the runs. By default `ZOO_RUNS_DIR`, else `runs`.

    Raises:
        StorageError: something cannot be removed.
    """
    folder = find_runs_dir(runs_dir)
    found = [*_find_parts(folder), *_find_empty(folder)]
    for each in found if yes else ():
        remove(each.path)
    for run in list_runs(folder):
        if run.run.is_symlink() or run.status in (RUNNING, UNKNOWN) or not any(_find_leftovers(run.run, run.status)):
            continue
        with suppress(LockHeldError), hold_run(run.run, "cleaned", changes=yes):
            left = list(_find_leftovers(run.run, find_status(run.run)))
            found += left
            for each in left if yes else ():
                remove(each.path)
    return tuple(sorted(found, key=lambda each: each.path))


def _find_leftovers(run: Path, status: str) -> Iterator[RunRemoval]:
    checkpoints = _list_checkpoints(run)
    kept = [name for name in (WEIGHTS_FILE, LAST_FILE) if (run / name).exists()]
    if status in ENDED and not checkpoints and not kept:
        yield RunRemoval(path=run, size=measure(run), what=_tell_run(run))
        return
    if status == FINISHED:
        yield from (RunRemoval(path=path, size=measure(path), what="checkpoint, run finished") for path in checkpoints)
    kept_checkpoints = [] if status == FINISHED else checkpoints
    own = [] if (run / CHECKPOINTS).is_symlink() else [run / CHECKPOINTS]
    for inner in (run, *own, *kept_checkpoints):
        yield from _find_parts(inner)


def _find_parts(folder: Path) -> Iterator[RunRemoval]:
    return (RunRemoval(path=path, size=measure(path), what="never finished") for path in find_stale_parts(folder))


def _find_empty(folder: Path) -> Iterator[RunRemoval]:
    """Yield folders that a run was killed in before it wrote anything."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                is_old = path.is_dir() and not path.is_symlink() and time.time() - path.stat().st_mtime > DAY
                if is_old and not path.name.startswith(".") and not any(path.iterdir()):
                    yield RunRemoval(path=path, size=0, what="empty")


def _list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run; those that links lead to are none of its own."""
    place = run / CHECKPOINTS
    found = [] if place.is_symlink() else sorted(place.glob(CHECKPOINT_PATTERN))
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _tell_run(run: Path) -> str:
    if run.is_symlink():
        return "a link"
    kept = [name for name in (WEIGHTS_FILE, LAST_FILE) if (run / name).exists()]
    return f"{find_status(run)}, {'with' if kept else 'no'} weights"


def _show_total(removals: Sequence[RunRemoval]) -> str:
    return show_size(sum(each.size for each in removals))
