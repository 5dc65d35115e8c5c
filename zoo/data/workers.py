"""Workers: the processes of a DataLoader that read samples, how their end is told and how they are ended."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any

from torch.utils.data import DataLoader

from zoo.errors import WorkerError, describe, quote

SIGNAL_WAIT = 1
"""Seconds to wait for the system to tell that a worker process ended."""


def read_from(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield what the loader gives, and end its workers when the caller takes no more."""
    others = set(active_children())
    batches = iter(loader)
    workers = set(active_children()) - others
    try:
        try:
            yield from batches
        except (OSError, EOFError) as error:
            # A worker that dies while it hands over a batch breaks the connection first. torch reports its death from a
            # signal handler a moment later: waiting here lets that error be raised here and not in a later line.
            time.sleep(SIGNAL_WAIT)
            raise RuntimeError(f"DataLoader worker: {describe(error)}") from error
    except RuntimeError as error:
        # The frames of the traceback keep the loader's iterator alive, and with it the other workers. Clearing the
        # frames ends them at once.
        del batches
        for known in (error, error.__context__):
            if known is not None:
                traceback.clear_frames(known.__traceback__)
        raise
    finally:
        _end(workers)


def _end(workers: Iterable[BaseProcess]) -> None:
    """End the workers that are still there: torch would wait five seconds for each one that is busy, or hangs.

    Its handler of SIGCHLD would raise an error about them in some later line, so it does not hear of these. In another
    thread than the main one nobody can keep it from that, and ending them is left to torch.
    """
    alive, child = [worker for worker in workers if worker.is_alive()], getattr(signal, "SIGCHLD", None)
    if not alive or child is None or threading.current_thread() is not threading.main_thread():
        return
    former = signal.signal(child, signal.SIG_DFL)
    try:
        for worker in alive:
            worker.kill()
        for worker in alive:
            worker.join()
    finally:
        signal.signal(child, former)


@contextmanager
def name_dead_worker(dataset: str) -> Iterator[None]:
    """Raise WorkerError where torch tells that a worker process died.

    It tells so from a signal handler: the error may come out of any line of the main thread, not of the loader only.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        fix = "Use workers=0, or free memory"
        raise WorkerError(f"dataset {quote(dataset)}: a data worker died", str(error), fix) from error
