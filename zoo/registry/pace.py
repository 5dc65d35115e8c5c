"""Pace: work that moves bytes, and is given up when it moves too few of them.

A server that sends a byte now and then never lets a time limit of a single read pass, and would hold a download for
ever.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

MIN_RATE, WINDOW = 1000, 30.0
"""Bytes a second, and the seconds over which they are counted: an old modem is faster."""


class TooSlow(Exception):
    """Fewer bytes came than MIN_RATE allows."""


def keep_pace(work: Callable[[], object], count: Callable[[], int], *, grace: float) -> None:
    """Run `work` in a thread while `count()`, the bytes moved so far, grows by MIN_RATE a second in every WINDOW.

    The first window is longer by `grace` seconds, for what comes before the first byte. The thread of work that was
    given up ends by itself, or with the process: the caller takes from it what it reads from.

    Raises:
        TooSlow: it does not.
        BaseException: what `work` raises.
    """
    raised: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 it is raised by the thread that waits
            raised.append(error)

    thread, before = Thread(target=call, daemon=True), 0
    thread.start()
    thread.join(grace + WINDOW)
    while thread.is_alive():
        if count() - before < MIN_RATE * WINDOW:
            raise TooSlow(f"fewer than {MIN_RATE} bytes a second came for {WINDOW:g} s")
        before = count()
        thread.join(WINDOW)
    if raised:
        raise raised[0]
