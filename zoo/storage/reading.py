"""Reading: a file that is what its reader expects, a regular one of a bounded size, or an error at once.

Whoever can write into a folder that zoo reads can put a pipe, a device or a file of many gigabytes there. None of them
may block a command or fill the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from zoo.errors import describe

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a file to be read, without waiting: a pipe would wait for a writer, and a device may do anything.

    Raises:
        OSError: it cannot be opened, or is no regular file; its `strerror` says what it is.
    """
    # The kind is asked before the file is opened, because opening some devices has effects, and once more of what was
    # opened, because another thing may have taken its place in between.
    check_regular(os.stat(path).st_mode)  # noqa: PTH116 a path of Windows' own form has no Path
    with open(path, "rb", opener=_open_without_waiting) as file:
        check_regular(os.fstat(file.fileno()).st_mode)
        yield file


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; its `strerror` says so.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, at most {most} are read", os.fspath(path))
        return file.read(size)


def explain(error: Exception) -> str:
    """Return why a file cannot be read, in the words of the system or of this module, without its path."""
    return getattr(error, "strerror", None) or describe(error)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


def check_regular(mode: int) -> None:
    """Raise OSError unless the mode, as `stat` gives it, is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "a device")
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"it is {kind}, not a regular file")
