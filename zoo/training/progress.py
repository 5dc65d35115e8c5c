"""Progress bars on a terminal, behind one switch; a display problem never stops work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
FORMS = (
    "{l_bar}{bar:10}{r_bar}",
    "{desc}: {percentage:3.0f}% {elapsed}<{remaining} {rate_fmt}{postfix}",
    "{desc}: {percentage:3.0f}% {elapsed}<{remaining}{postfix}",
    "{desc}: {percentage:3.0f}% {remaining}{postfix}",
    "{percentage:3.0f}% {remaining}{postfix}",
    "{percentage:3.0f}%{postfix}",
    "{percentage:3.0f}%",
)
"""What a bar says, by the room there is; the first with a bar of ten columns, which takes all that are left."""
ERASE = "\x1b[J"
"""Erases what is between the cursor and the end of the screen."""


class Progress(Protocol):
    """Passes items through while something may be shown; `status` is asked only when the display is redrawn."""

    def __call__(
        self, items: Iterable[T], *, total: int, description: str, status: Callable[[], str] | None = None
    ) -> Iterable[T]:
        """Return the items."""


def no_progress(
    items: Iterable[T], *, total: int, description: str, status: Callable[[], str] | None = None
) -> Iterable[T]:
    """Show nothing."""
    return items


def bar(items: Iterable[T], *, total: int, description: str, status: Callable[[], str] | None = None) -> Iterable[T]:
    """Show a tqdm bar on a terminal, redrawn ten times a second by the clock; elsewhere nothing."""
    if not is_terminal():
        return items
    return _show(items, total, description, status)


def is_terminal() -> bool:
    """Tell whether standard error is an open terminal."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # the stream is closed
        return False


class _Guard:
    """A stream that swallows write errors: a terminal that went away must not end a training."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self.stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _show(items: Iterable[T], total: int, description: str, status: Callable[[], str] | None) -> Iterator[T]:
    from tqdm.std import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        # tqdm's monitor thread would read the losses while the training adds to them.
        monitor_interval = 0
        # tqdm's own lock is one of processes: making it would choose how this program starts processes.
        _lock = RLock()

        @staticmethod
        def status_printer(file: Any) -> Callable[[str], None]:
            return partial(_redraw, file)

        def __str__(self) -> str:
            # tqdm asks for this at each redraw only. Reading the loss more often would make an accelerator wait.
            values = {**self.format_dict, "postfix": status() if status else None}
            return _fit(lambda **form: str(self.format_meter(**{**values, **form})))

    yield from Bar(
        items,
        total=total,
        desc=description,
        leave=False,
        file=_Guard(sys.stderr),
        unit="batch",
        miniters=1,  # looks at the clock after every item instead of guessing when a redraw is due
    )


def _fit(write: Callable[..., str]) -> str:
    """Return the fullest form of the bar that fits the terminal, or what fits of the shortest one."""
    columns = measure_columns()
    line = ""
    for form in FORMS:
        line = write(bar_format=form, ncols=None)
        if len(line) <= columns:
            return write(bar_format=None, ncols=columns) if form == FORMS[0] else line
    return line[:columns]


def measure_columns() -> int:
    """Return the columns of the terminal as it is now, or COLUMNS where that says fewer.

    One column less than there are: some terminals begin a new line after the last one.
    """
    found = [os.environ.get("COLUMNS", "")]
    with suppress(AttributeError, ValueError, OSError):  # no terminal, or closed
        found.append(str(os.get_terminal_size(sys.stderr.fileno()).columns))
    return max(1, min((int(text) for text in found if text.isdecimal() and int(text) > 0), default=80) - 1)


def _redraw(file: Any, line: str) -> None:
    """Replace the line of the bar.

    The cursor waits in its first column. A terminal that becomes narrower may break the line into several, and keeps
    the cursor where the text was: what is erased from there on is then all of them.
    """
    if os.environ.get("TERM") == "dumb" or os.name == "nt":
        file.write(f"\r{line.ljust(measure_columns())}\r")
    else:
        file.write(f"\r{ERASE}{line}\r")
    file.flush()
