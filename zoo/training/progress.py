"""Progress bars on a terminal, behind one switch; a display problem never stops work."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


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

        @property
        def format_dict(self) -> dict[str, Any]:
            # tqdm reads this at each redraw only. Reading the loss more often would make an accelerator wait.
            return {**super().format_dict, "postfix": status() if status else None}

    # tqdm shows nothing on a terminal that does not know its width, so the width is given.
    yield from Bar(
        items,
        total=total,
        desc=description,
        leave=False,
        file=_Guard(sys.stderr),
        ncols=shutil.get_terminal_size().columns,
        unit="batch",
        miniters=1,  # looks at the clock after every item instead of guessing when a redraw is due
    )
