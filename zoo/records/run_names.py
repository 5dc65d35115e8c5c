"""Names of runs: which folder a name means, and another name for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo.errors import SettingError, StorageError, UsageError, WeightsError, quote, suggest
from zoo.limits import MAX_RECORD
from zoo.records.run_folder import DAMAGED, LOCK_FILE, RECORD_FILE, RUNNING
from zoo.records.run_index import list_runs
from zoo.records.runs import read_record, read_table, save_table
from zoo.registry.arguments import checked
from zoo.storage.creation import rename_folder
from zoo.storage.files import ON_WINDOWS, UNSAFE_NAME, describe_failure, sync_folder
from zoo.storage.folders import runs_dir as find_runs_dir
from zoo.storage.locks import LockHeldError, lock
from zoo.storage.reading import read_file

MOST_NAMED = 5
LONGEST_NAME = 200
"""Bytes of a name, so that those of parts and links beside it fit too."""


def find_run(run: str | os.PathLike[str], runs_dir: Path) -> Path:
    """Return the folder of a run: a path, its name in the folder of the runs, the beginning of one, or `@last`.

    A path that is a run wins. `@last` is the newest run, whatever became of it.

    Raises:
        UsageError: there is no such run, or several begin so.
    """
    text = os.fspath(run)
    if text == "@last":
        if runs := list_runs(runs_dir):
            return runs[-1].run
        raise UsageError(f"no run in {runs_dir}", fix="Start one: zoo run")
    # Names that are too long, and homes of users who do not exist, raise here; they are no runs either.
    with suppress(OSError, RuntimeError, ValueError):
        for path in (Path(text).expanduser(), runs_dir / text) if text else ():
            if (path / RECORD_FILE).is_file():
                return path
    names = [each.name for each in list_runs(runs_dir)]
    meant = [name for name in names if text and name.startswith(text)]
    if len(meant) == 1:
        return runs_dir / meant[0]
    if meant:
        more = f" and {len(meant) - MOST_NAMED} more" if len(meant) > MOST_NAMED else ""
        why = f"{len(meant)} runs begin so: {', '.join(meant[-MOST_NAMED:])}{more}"
        raise UsageError(f"{quote(text)} is no single run", why, "Give more of its name")
    why = f"{runs_dir} has no run" if not names else ""
    raise UsageError(f"no run {quote(text)} in {runs_dir}", why, suggest(text, [*names, "@last"], "See: zoo runs"))


def find_own_run(run: str | os.PathLike[str], runs_dir: Path, what: str) -> Path:
    """Return a run that is in the folder of the runs itself; raise UsageError where there is none, or it is elsewhere.

    `what` says what is not to be done with any other, `removed` say.
    """
    found = find_run(run, runs_dir)
    # The folder may be a link itself, so only where it lies is resolved.
    own = Path(os.path.abspath(found))  # noqa: PTH100 Path.absolute keeps the dots of `runs/..`
    if os.path.realpath(own.parent) != os.path.realpath(runs_dir):
        fix = f"Give runs_dir={str(own.parent)!r} where you mean it"
        raise UsageError(f"{found} is not in {runs_dir}", f"only runs of that folder are {what}", fix)
    return runs_dir / own.name


@contextmanager
def hold_run(run: Path, what: str, *, changes: bool = True) -> Iterator[None]:
    """Keep other processes from going on with a run while the body does what `what` says, `removed` say.

    Where the body changes nothing, and for a link, nothing is written into the folder, so that it is only held if it
    was resumed before. Windows renames no folder in which a file is open: there the run is only looked at before.

    Raises:
        LockHeldError: a process works on it.
    """
    with ExitStack() as held:
        try:
            if (changes and not run.is_symlink()) or (run / LOCK_FILE).is_file():
                held.enter_context(lock(run / LOCK_FILE, timeout=0))
        except LockHeldError as error:
            raise LockHeldError(
                f"run {quote(run.name)} is in use", "a process goes on with it", "Wait for that"
            ) from error
        except StorageError:  # where nothing can be written nobody goes on with it either
            pass
        if find_status(run) == RUNNING:
            raise LockHeldError(
                f"run {quote(run.name)} is running", f"only runs that have ended are {what}", "Stop it first"
            )
        if ON_WINDOWS:
            held.close()
        yield


def find_status(run: Path) -> str:
    """Return what became of a run."""
    try:
        return read_record(run / RECORD_FILE).status or ""
    except WeightsError:
        return DAMAGED


@checked
def runs_rename(run: str | os.PathLike[str], name: str, *, runs_dir: str | Path | None = None) -> Path:
    """Give the folder of a run another name, and return it; it stays in the folder of the runs.

    Runs that started from its weights say so in their record; that is changed as well.

    Args:
        run: Its name, the beginning of it, its folder, or `@last`.
        name: The new name.
        runs_dir: The folder of the runs. By default `ZOO_RUNS_DIR`, else `runs`.

    Raises:
        UsageError: there is no such run, or the name is taken or cannot be one.
        StorageError: the run is still running, or its folder cannot be renamed.
    """
    folder = find_runs_dir(runs_dir)
    _check_name(name)
    old = find_own_run(run, folder, "renamed")
    new = folder / name
    if name == old.name:
        return old
    taken = UsageError(f"{new} is there already", fix="Give another name")
    if os.path.lexists(new):
        raise taken
    with hold_run(old, "renamed"):
        _rename(old, new, taken)
    return new


def _rename(old: Path, new: Path, taken: UsageError) -> None:
    folder, followed = old.parent, list[Path]()
    try:
        # The records come first: after a kill the same call does what is left.
        for other in list_runs(folder):
            if other.status != RUNNING and _follow(other.run, old, new):
                followed.append(other.run)
        rename_folder(old, new)
        sync_folder(folder)
    except (OSError, StorageError) as error:
        for other_run in followed if os.path.lexists(old) else ():
            with suppress(StorageError):
                _follow(other_run, new, old)
        if isinstance(error, StorageError):
            raise
        if isinstance(error, FileExistsError):  # by a process that took it meanwhile
            raise taken from error
        fix = "Give the folder of the runs with runs_dir=..."
        raise describe_failure(f"cannot rename {old}", error, folder, fix) from error


def _check_name(name: str) -> None:
    """Raise SettingError for a name that no system has, that a listing would pass over, or that means something."""
    is_plain = not UNSAFE_NAME.fullmatch(name) and name.isprintable() and len(os.fsencode(name)) <= LONGEST_NAME
    if not is_plain or name[0] in ".-~" or "@" in name or name.endswith(".safetensors"):
        # Windows has no con or com1 either.
        what = "expected a name that every system gives a folder, without @, not beginning with . - or ~"
        raise SettingError("name", f"{what}, nor ending as a weights file", name)


def _follow(run: Path, old: Path, new: Path) -> bool:
    """Let the record of a run that started from a renamed one name that by its new name; return whether it did."""
    with suppress(OSError, ValueError, RecursionError):
        # Few records name another run, and most need not be parsed to see that.
        if json.dumps(old.name)[1:-1].encode() not in read_file(run / RECORD_FILE, MAX_RECORD):
            return False
        table: Any = read_table(run / RECORD_FILE)
        if not isinstance(table, dict):
            return False
        changed = False
        for part, key in ((table.get("init"), "path"), *((part, "of") for part in table.get("resumed") or ())):
            if isinstance(part, dict) and isinstance(path := part.get(key), str):
                part[key] = _move(path, old, new)
                changed |= part[key] != path
        if changed:
            save_table(run, table)
        return changed
    return False


def _move(text: str, old: Path, new: Path) -> str:
    """Return a path in the renamed folder, or that of the folder itself, as it is now; any other as it was."""
    path, gone = Path(text), Path(os.path.realpath(old.parent), old.name)
    for folder in (path, path.parent):
        # A relative path was one from the folder that the program ran in, as a rule the one that holds `runs`.
        places = (Path.cwd() / folder, gone.parents[1] / folder)
        if any(Path(os.path.realpath(place.parent), place.name) == gone for place in places):
            return str(folder.with_name(new.name) / path.relative_to(folder))
    return text
