"""Locks: files that one process at a time holds; the lock of a dead process holds nobody back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import StorageError
from zoo.storage.files import describe_failure, make_folder


class LockHeldError(StorageError):
    """Another process holds a lock (exit 7)."""


@contextmanager
def lock(
    path: str | Path,
    *,
    timeout: float,
    wait: Callable[[], None] = lambda: None,
    fix: str = "Choose another place with ZOO_HOME.",
) -> Iterator[None]:
    """Hold the lock file `path` while the body runs. `wait` is called once where somebody else holds it.

    `fix` is the advice where there can be no lock in that place.

    Raises:
        LockHeldError: somebody else holds it, after `timeout` seconds of waiting.
        StorageError: there can be no lock in that place.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    try:
        make_folder(path.parent)
        held = FileLock(path)
        try:
            held.acquire(timeout=0)
        except Timeout:
            wait()
            held.acquire(timeout=timeout)
    except Timeout as error:
        raise LockHeldError(f"cannot lock {path}", f"still held elsewhere after {timeout:g} s", "Try later.") from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise describe_failure(f"cannot lock {path}", error, path.parent, fix) from error
    try:
        yield
    finally:
        held.release()
