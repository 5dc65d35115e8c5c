"""Workers: the processes of a DataLoader that read samples, how their end is told and how they are ended."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from math import ceil, inf
from multiprocessing import active_children, get_start_method, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, _utils

from zoo.errors import StorageError, WorkerError, describe, is_out_of_files, quote

SIGNAL_WAIT = 1
"""Seconds to wait for the system to tell that a worker process ended."""
TIMED_OUT = "DataLoader timed out"
"""How torch begins to say so."""
END_WAIT = 0.2
"""Seconds that each worker has to end by itself."""
SLICE = 5
"""Seconds of one look for a batch. Waiting is counted in these: the time in which the whole program is stopped, by
Ctrl-Z say, counts as one of them at most."""
PATIENCE = 120
"""Seconds without a batch after which a worker counts as hanging; a batch of more samples has a second for each."""
PER_CORE, USUAL = 2, 16
"""Processes that a machine bears for each of its cores, and in any case."""
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


def read_from(loader: DataLoader[Any], samples: int = 1) -> Generator[Any, None, None]:
    """Yield what the loader gives, and end its workers when the caller takes no more; `samples` are in a batch at most.

    Raises:
        RuntimeError: torch tells of a worker that died, or nothing came for PATIENCE seconds.
    """
    others = set(active_children())
    if loader.num_workers:
        loader.timeout = SLICE
    try:
        batches = iter(loader)
    except (RuntimeError, OSError) as error:
        # A worker died while the iterator was being made, or could not be started. The frames of the traceback hold
        # what there is of it; when they are cleared it goes, and ends the other workers.
        with _hurry():
            traceback.clear_frames(error.__traceback__)
        raise
    workers = set(active_children()) - others
    try:
        yield from _await(batches, max(PATIENCE, samples))
    except (OSError, EOFError) as error:
        if is_out_of_files(error):
            raise
        # A worker that dies while it hands over a batch breaks the connection first. torch reports its death from a
        # signal handler a moment later: waiting here lets that error be raised here and not in a later line.
        time.sleep(SIGNAL_WAIT)
        raise RuntimeError(f"DataLoader worker: {describe(error)}") from error
    finally:
        try:
            _end(batches, workers)
        except RuntimeError:
            # torch told of a worker that had died just while the others were being ended. It tells of it once.
            _end(batches, workers)
            raise


def _await(batches: Iterator[Any], seconds: float) -> Iterator[Any]:
    """Yield the batches; raise RuntimeError where one of them is waited for longer than that."""
    waited = 0
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            waited += SLICE
            if TIMED_OUT not in str(error):
                raise
            if waited >= seconds:
                raise RuntimeError(f"{TIMED_OUT}: nothing came for {waited} s") from error
        else:
            waited = 0
            yield batch


def settle(worker: int) -> None:
    """Let a worker ignore what a terminal sends to all of its processes: the main one ends its workers itself.

    It ends as soon as its main process is gone, killed say, whatever a sample takes. torch looks for that between two
    batches, and where it was gone before takes the process that adopted the worker for it, and waits for ever.
    """
    main = parent_process()
    if get_start_method() == "forkserver":  # the parent of such a worker is the server
        gone = main is not None and not main.is_alive()
    else:
        gone = main is not None and main.pid != os.getppid()
    if gone:
        os._exit(1)
    if main is not None:
        threading.Thread(target=_end_with, args=[main], daemon=True).start()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_with(main: Any) -> None:
    main.join()
    os._exit(1)


def _end(batches: Any, workers: Iterable[BaseProcess]) -> None:
    """End the workers of a loader's iterator, by torch's own way and in less than its time.

    They are told to stop before any of them is ended: one that was killed may hold the lock that telling takes, and
    whoever waits for it would wait for ever. What ignores torch's signal is killed when nothing is to be told any more.
    """
    shut_down = getattr(batches, "_shutdown_workers", None)
    if shut_down is None:  # there are no workers
        return
    try:
        with _hurry():
            shut_down()
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
                worker.join()


@contextmanager
def _hurry() -> Iterator[None]:
    """Let torch wait END_WAIT for each worker that is busy, or hangs, in the place of five seconds."""
    before, _utils.MP_STATUS_CHECK_INTERVAL = _utils.MP_STATUS_CHECK_INTERVAL, END_WAIT
    try:
        yield
    finally:
        _utils.MP_STATUS_CHECK_INTERVAL = before


@contextmanager
def name_dead_worker(dataset: str) -> Iterator[None]:
    """Raise WorkerError where torch tells that a worker process died, or hangs; StorageError of too many open files.

    It tells so from a signal handler: the error may come out of any line of the main thread, not of the loader only.
    """
    try:
        yield
    except OSError as error:
        if not is_out_of_files(error):
            raise
        fix = "Use fewer workers=..., or allow more files with ulimit -n"
        raise StorageError(f"dataset {quote(dataset)}: too many files are open", describe(error), fix) from error
    except RuntimeError as error:
        if str(error).startswith(TIMED_OUT):
            what, why = f"dataset {quote(dataset)}: its data workers hang", str(error).removeprefix(f"{TIMED_OUT}: ")
            raise WorkerError(what, why, "Use workers=0, where Ctrl-C ends it, to see which sample") from error
        if "DataLoader worker" not in str(error):
            raise
        fix = "Use workers=0, or free memory"
        raise WorkerError(f"dataset {quote(dataset)}: a data worker died", str(error), fix) from error


def count_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or as many as its container's time comes to."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, ceil(min(bound, read_quota(CONTAINER))))


def count_bearable() -> int:
    """Return how many processes may train on this machine: more would only wait, and each has the whole model."""
    return max(USUAL, PER_CORE * count_cores())


def read_quota(folder: Path) -> float:
    """Return the cores that a control group of Linux has time for, from its files of either version; else infinity."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else inf
        except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: there is no limit
            continue
    return inf
