"""Signals: SIGINT, SIGTERM and SIGHUP, that end work, held back where work must come to an end of its own.

Python calls signal handlers in the main thread, and only that one can set them. In another thread nothing here does
anything: no signal ends what runs there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What people and systems stop a process with; Windows has no SIGHUP."""
SAME_STOP = 1.0
"""Seconds within which further signals mean the first one: people press Ctrl-C twice, and a closed terminal sends
SIGHUP from more than one side."""

GRACE = 10.0
"""Seconds that a step may take to come to its end after a signal."""
GRACE_PARTS = 20

Handle = Callable[[int, Any], Any]

leave: Callable[[int, str], object] | None = None
"""What a second signal does, with what is to be said: the command line ends its process. Elsewhere a signal does what
it always did."""


_noted = list[list[tuple[int, float]]]()
"""The signals that came, for each `note_stops` that is open."""
_hurries = list[None]()
"""One for each `hurry` that is open."""


class TimeIsUp(KeyboardInterrupt):
    """A training has had the time that it was given, and ends as by a signal (exit 124, as timeout(1) has it)."""

    exit_code = 124


@contextmanager
def hurry() -> Iterator[None]:
    """Let a signal that `note_stops` notes stop the body where it is, by KeyboardInterrupt: it is no part of a step.

    One that came before stops it at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if any(_noted):
        raise KeyboardInterrupt
    _hurries.append(None)
    try:
        yield
    finally:
        _hurries.pop()


@contextmanager
def defer_signals(*, again: bool = True) -> Iterator[None]:
    """Let the body finish what a signal would stop; the first that came is sent again afterwards, unless told not to.

    A process that ignores a signal, as one under `nohup` does SIGHUP, goes on ignoring it.
    """
    noted: list[int] = []
    try:
        with _handling(lambda former: lambda number, frame: noted.append(number)):
            yield
    finally:
        if noted and again:
            signal.raise_signal(noted[0])


@contextmanager
def note_stops(
    note: Callable[[int], None], obeyed: Callable[[], bool], tell: Callable[[], str] = str
) -> Iterator[None]:
    """Let `note` know of the first signal that would stop the body, which is sent again after it; a second one does so.

    `tell` returns what there is to be said then.

    A closed terminal sends SIGHUP from more than one side: that is one signal. Where `obeyed` is not true GRACE seconds
    after the first one, the body hangs, a worker that reads for ever say: then that signal stops it where it is.
    """
    noted, owner = list[tuple[int, float]](), os.getpid()
    came, ended, overdue = threading.Event(), threading.Event(), threading.Event()

    def remind() -> None:
        came.wait()
        # In parts: while the whole process is stopped, by Ctrl-Z say, the step cannot come to its end either.
        if not any(ended.wait(GRACE / GRACE_PARTS) for _ in range(GRACE_PARTS)) and not obeyed():
            overdue.set()
            os.kill(owner, noted[0][0])

    # Started here: a handler that starts a thread waits for ever where it interrupted the start of another one.
    threading.Thread(target=remind, daemon=True).start()

    def wrap(former: Any) -> Handle:
        def handle(number: int, frame: Any) -> None:
            if os.getpid() != owner:
                _act(former, number, frame)
            elif not noted:
                noted.append((number, time.monotonic()))
                came.set()
                note(number)
                if _hurries:
                    raise KeyboardInterrupt
            elif overdue.is_set():
                overdue.clear()
                _act(former, number, frame)
            elif number == noted[0][0] == getattr(signal, "SIGHUP", 0) and time.monotonic() - noted[0][1] < SAME_STOP:
                pass
            else:
                if leave is not None:
                    leave(number, tell())
                _act(former, number, frame)

        return handle

    _noted.append(noted)
    try:
        with _handling(wrap):
            yield
    finally:
        _noted.remove(noted)
        ended.set()
        came.set()
        if noted:
            signal.raise_signal(noted[0][0])


@contextmanager
def on_request(act: Callable[[], None]) -> Iterator[None]:
    """Let SIGUSR1, which would end the process, call `act` while the body runs; Windows has no such signal."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(number, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(number, former if former is not None else signal.SIG_DFL)


@contextmanager
def stop_once() -> Iterator[None]:
    """Let a signal stop the body by a KeyboardInterrupt, and one that follows at once not stop what that starts.

    Without it a second Ctrl-C could end the process on its way to saving what the first one left. A signal that would
    have ended the process without a word ends it so after the body.
    """
    stopped, deadly, owner = 0.0, list[int](), os.getpid()

    def wrap(former: Any) -> Handle:
        def handle(number: int, frame: Any) -> None:
            nonlocal stopped
            if os.getpid() != owner:  # a worker that was forked: it has nothing to save
                _act(former, number, frame)
            elif not stopped or time.monotonic() - stopped > SAME_STOP:
                try:
                    if former == signal.SIG_DFL:
                        deadly.append(number)
                        raise KeyboardInterrupt
                    former(number, frame)
                except BaseException:
                    stopped = time.monotonic()
                    raise

        return handle

    try:
        with _handling(wrap):
            yield
    finally:
        if deadly:
            signal.raise_signal(deadly[0])


def _act(former: Any, number: int, frame: Any) -> None:
    if former == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    else:
        former(number, frame)


@contextmanager
def _handling(wrap: Callable[[Any], Handle]) -> Iterator[None]:
    """Handle each signal as `wrap` of its former handler says while the body runs."""
    former: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                known = signal.getsignal(number)
                # None is a handler that was not set from Python and could not be set again.
                if known not in (signal.SIG_IGN, None):
                    former[number] = known
                    signal.signal(number, wrap(known))
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
