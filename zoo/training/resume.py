"""Resume: a run that was stopped or killed goes on from its newest checkpoint, with the bits that it would have had."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from zoo.data.ranks import find_ranks
from zoo.errors import StorageError
from zoo.records.history import Epoch
from zoo.records.result import RunResult
from zoo.records.run_folder import FINISHED, LOCK_FILE, RECORD_FILE, RUNNING, WEIGHTS_FILE
from zoo.records.run_names import find_run
from zoo.records.runs import RunRecord, read_record
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import Places, open_places
from zoo.storage.locks import LockHeldError, lock
from zoo.training.begun import Begun, check_plugins, count_processes, refuse_edits, want_again
from zoo.training.callbacks import check_callbacks
from zoo.training.checkpoint import find_checkpoint
from zoo.training.interval import read_pace
from zoo.training.request import make_request
from zoo.training.run import carry_out

logger = logging.getLogger("zoo")

ORPHANS = 5.0
"""Seconds to wait for a lock: the workers of a process that was killed have inherited it, and end a moment later,
on a busy machine too."""
READ_ONLY = "Start a new run from its state with fork=True and runs_dir=..."
"""What to do with a run whose folder cannot be written to."""


@checked
def resume(
    run: str | os.PathLike[str] = "@last",
    *,
    epochs: int | None = None,
    processes: int | None = None,
    fork: bool = False,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    callbacks: Sequence[object] = (),
    log: str | Sequence[str] | None = None,
    log_params: Mapping[str, Mapping[str, Any]] | None = None,
    checkpoint_every: str | float | None = None,
    max_time: str | float | None = None,
    rank_timeout: str | float | None = None,
) -> RunResult:
    """Go on with a run from its newest checkpoint; weights and history are those of a run that was never stopped.

    `run` is the folder of a run, its name in the runs folder, or `@last`, the newest. It goes on in its own folder,
    with what it was asked for; `epochs` may be more where no learning rate depends on their number. What a run is made
    of must be as it was; with `fork` a new run starts from the state all the same, and goes on as its record now asks
    for it. The bits are the same where torch, the threads and the device are; else a warning says what is not.

    Several processes that torchrun started, `processes` where that is said, go on with it together; that need not be as
    many as began it, and a warning says where they are not. The other arguments are those of `zoo.run`. A run that is
    finished is returned as it is.

    Raises:
        UsageError: there is no such run.
        WeightsError: it has no checkpoint that can be used.
        StorageError: another process trains the run.
        DataError, UsageError: the data set or something else has changed since the run began.
        ZooError: see `zoo.run`.
    """
    pace = read_pace(checkpoint_every, max_time, rank_timeout)
    check_callbacks(callbacks)
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline).settle()
    folder = find_run(run, places.runs_dir)
    with ExitStack() as held:
        if not fork and find_ranks().is_first:
            held.enter_context(_lock(folder))
        record = read_record(folder / RECORD_FILE)
        if not fork:
            _refuse_running(folder, record)
            if record.status == FINISHED and epochs in (None, len(record.history)):
                return _tell_finished(folder, record)
        checkpoint = find_checkpoint(folder)
        check_plugins(record, places.registry)
        if not fork:
            refuse_edits(checkpoint.record, record)
        wanted = want_again(checkpoint, record, epochs, processes, fork=fork)
        request = make_request(replace(wanted, log=log, log_params=log_params), places)
        begun = Begun(checkpoint=checkpoint, folder=None if fork else folder, origin=folder)
        return carry_out(request, begun, pace=pace, progress=progress, on_epoch=on_epoch, callbacks=callbacks)


def find_processes(run: str | os.PathLike[str], places: Places) -> int:
    """Return how many processes trained a run together; raise UsageError where there is no such run."""
    return count_processes(read_record(find_run(run, places.settle().runs_dir) / RECORD_FILE))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run; raise StorageError where another process does."""
    try:
        held = lock(folder / LOCK_FILE, timeout=ORPHANS, fix=READ_ONLY)
        held.__enter__()
    except LockHeldError as error:
        fix = "Wait for it, or start a new run from its state with fork=True"
        raise StorageError(f"run {folder} is in use", "another process resumes it", fix) from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _refuse_running(folder: Path, record: RunRecord) -> None:
    if record.status != RUNNING:
        return
    process = record.process
    who = f"process {process.pid} on {process.host}" if process else "a process"
    fix = "Wait for it, stop it, or start a new run from its state with fork=True"
    raise StorageError(f"run {folder} is in use", f"{who} has trained it since {record.started}", fix)


def _tell_finished(folder: Path, record: RunRecord) -> RunResult:
    """Return what a finished run gave."""
    done = len(record.history)
    logger.info("already finished: %d of %s epochs", done, record.train_config.get("epochs", done))
    known = vars(record)
    told: dict[str, Any] = {part.name: known[part.name] for part in fields(RunResult) if part.name in known}
    data = record.dataset
    told |= {"run": folder, "weights": folder / WEIGHTS_FILE, "dataset": data.name if data else ""}
    return RunResult(**told, dataset_params=dict(data.params or {}) if data else {})
