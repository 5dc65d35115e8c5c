"""The end of a command: what is said of an error, a bug or a signal, and the exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, NoReturn

from zoo.cli.launch import report_error, report_stop
from zoo.cli.output import ReaderGone, is_silent, write_error, write_note
from zoo.cli.torch_import import load_torch
from zoo.errors import OutOfMemoryError, StorageError, ZooError, describe, is_out_of_files, is_out_of_memory
from zoo.storage.folders import check_current_folder

INTERRUPTED, BROKEN_PIPE = 130, 141


class _Bug(ZooError):
    """An error nobody foresaw: its cause has the traceback (exit 1)."""


class Terminated(KeyboardInterrupt):
    """A signal that ends programs arrived: SIGTERM, or SIGHUP from a terminal that went away (exit 128 + number)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def terminate(number: int, frame: Any) -> NoReturn:
    """Raise what ends a command, as the handler of a signal."""
    raise Terminated(number)


def leaving(command: Callable[..., None]) -> Callable[..., None]:
    """Let a second signal end the process of a command that trains at once: the first one is already seen to."""

    @wraps(command)
    def run(**options: Any) -> None:
        load_torch()
        from zoo.training import signals

        signals.leave = _leave
        try:
            command(**options)
        finally:
            signals.leave = None

    return run


def _leave(number: int, told: str) -> None:
    if not report_stop(128 + number, [told]) and not is_silent():
        with suppress(OSError):
            os.write(2, f"\nStopped at once. {told}\n".encode(errors="replace"))
    os._exit(128 + number)


def report(error: ZooError, arguments: Sequence[str]) -> int:
    """Print an error, with --debug its traceback too; return the exit code."""
    from zoo.cli.hints import explain

    explain(error, arguments)
    if report_error(error, trace=_trace(error)):
        return error.exit_code
    write_error(error, as_json="--json" in arguments)
    if _is_debug(arguments):
        write_note(_trace(error))
    return error.exit_code


def _trace(error: ZooError) -> str:
    import traceback

    return "".join(traceback.format_exception(error.__cause__ if isinstance(error, _Bug) else error)).rstrip()


def end(error: BaseException, arguments: Sequence[str]) -> int:
    """Say why the work ended, nothing when only the reader of the results went away; return the exit code."""
    if isinstance(error, ReaderGone):
        return BROKEN_PIPE
    return _stop(error) if isinstance(error, KeyboardInterrupt) else _report_bug(error, arguments)


def _report_bug(error: BaseException, arguments: Sequence[str]) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return report(StorageError("cannot write", describe(error), "Free some space"), arguments)
    try:
        check_current_folder()
    except StorageError as gone:
        return report(gone, arguments)
    if is_out_of_memory(error):
        return report(OutOfMemoryError("not enough memory", describe(error), "Ask for less, or free some"), arguments)
    if is_out_of_files(error):
        fix = "Allow more with ulimit -n, or use fewer workers"
        return report(StorageError("too many files are open", describe(error), fix), arguments)
    import time
    import traceback

    from zoo.storage.files import write_file
    from zoo.storage.folders import zoo_home

    text = "".join(traceback.format_exception(error))
    try:
        path = zoo_home() / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(errors="replace"), what="the log of an error")
        fix = f"This is a bug in zoo; please report it with {path}"
    except (OSError, ZooError):
        fix = "This is a bug in zoo; run again with --debug and report what it prints"
    bug = _Bug("unexpected error", describe(error), ". ".join([fix, *getattr(error, "__notes__", [])]))
    bug.__cause__ = error
    return report(bug, arguments)


def _is_debug(arguments: Sequence[str]) -> bool:
    from zoo.storage.folders import read_flag

    try:
        return "--debug" in arguments or read_flag("ZOO_DEBUG")
    except ZooError as error:
        write_note(f"Error: {error}")
        return False


def _stop(error: BaseException) -> int:
    """Say in one line that the work was stopped, and what is left of it."""
    code: int = getattr(error, "exit_code", INTERRUPTED)
    notes: list[str] = getattr(error, "__notes__", [])
    if not notes and isinstance(error.__context__, ZooError):
        notes = [error.__context__.fix]  # a rank that lost another one, and then was ended, said there what it kept
    if not report_stop(code, notes):
        write_note(" ".join(["Stopped.", *notes]))
    return code
