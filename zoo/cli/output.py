"""Output of the commands: results to stdout, everything else to stderr.

What anybody else prints while a command runs, a plugin say, is no result and goes to stderr as well.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

import click

from zoo.cli.wording import to_options
from zoo.errors import StorageError, ZooError

_kept: list[TextIO | None] = []
_others: list[TextIO] = []
_statuses: list[str] = []
_silences: list[bool] = []
ERASE_LINE = "\r\x1b[K"


class ReaderGone(BrokenPipeError):
    """Nobody reads the results any more: stdout was a pipe, and its other end is closed."""


class _Notes(io.FileIO):
    """Descriptor 1 for whoever prints what is no result: that it cannot be shown must not stop work."""

    def write(self, data: Any) -> int:
        _clear_status()
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def take_stdout() -> None:
    """Let descriptor 1 of this process lead to stderr, and give results a duplicate of what it was.

    So what C code and child processes print is no result either. It is for the program `zoo` only, once, at its start:
    in the process of somebody else descriptors are not ours.
    """
    # A descriptor below 3 that is closed would be given to the next file, and prints would end there.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    if sys.stdout is not None:
        encoding = sys.stdout.encoding
        sys.stdout = os.fdopen(os.dup(1), "w", encoding=encoding, errors="replace")
        notes = io.BufferedWriter(_Notes(1, "w", closefd=False))
        sys.__stdout__ = io.TextIOWrapper(notes, encoding, "replace", line_buffering=True)  # type: ignore[misc]
        _others.append(sys.__stdout__)
    os.dup2(2, 1)


def set_silent(silent: bool) -> None:
    """Let nothing be printed but errors, where another process prints what this one would, or all again."""
    _silences[:] = [silent] * silent


def is_silent() -> bool:
    """Tell whether another process prints what this one would."""
    return bool(_silences)


@contextmanager
def keep_stdout() -> Iterator[None]:
    """Keep stdout for results: what the body prints by other means than the functions of this module goes to stderr."""
    _kept.append(sys.stdout)
    try:
        with redirect_stdout(_others[-1] if _others else sys.stderr):
            yield
    finally:
        _kept.pop()


@contextmanager
def lend_stdout() -> Iterator[None]:
    """Let descriptor 1 be stdout again while the body runs, for another zoo that prints the results."""
    results = _find_results()
    try:
        own = results.fileno() if results is not None else 1
    except (OSError, ValueError):  # a stream of somebody's, without a file
        own = 1
    others = os.dup(1)
    os.dup2(own, 1)
    try:
        yield
    finally:
        os.dup2(others, 1)
        os.close(others)


def _find_results() -> TextIO | None:
    return _kept[-1] if _kept else sys.stdout


def measure_width(otherwise: int) -> int:
    """Return the width in columns of the terminal that shows results: COLUMNS where it is set, as for any program."""
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns
    results = _find_results()
    with suppress(AttributeError, ValueError, OSError):  # there is no stdout, it is no file, or no terminal
        return os.get_terminal_size(results.fileno()).columns or otherwise  # type: ignore[union-attr]
    return otherwise


def write_result(text: str) -> None:
    """Print a result to stdout at once; characters that could drive a terminal are escaped, its lines stay lines.

    Raises:
        StorageError: stdout is closed or full, so nobody gets the result.
        ReaderGone: the reader went away.
    """
    if _silences:
        return
    results = _find_results()
    if results is None or results.closed:
        raise StorageError("cannot write results", "stdout is closed")
    _clear_status()
    try:
        results.write(f"{_escape_lines(text)}\n")
        results.flush()
    except BrokenPipeError as error:
        drop_stream(results)
        raise ReaderGone from error
    except OSError as error:
        drop_stream(results)
        raise StorageError("cannot write results", error.strerror or str(error)) from error


def drop_stream(stream: TextIO) -> None:
    """Point stdout or stderr nowhere: what it could not write would fail again at the interpreter's end (exit 120)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def escape(text: str) -> str:
    """Return foreign text with its control characters escaped, so that it keeps to its line and drives no terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _escape_lines(text: str) -> str:
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join(map(escape, text.split("\n")))


def write_json(data: Any) -> None:
    """Print exactly one JSON value to stdout."""
    write_result(json.dumps(data, allow_nan=False))


def write_note(text: str, *, color: str = "") -> None:
    """Print a line to stderr, its first word in a colour where there are some; a bad stderr never stops work."""
    if not _silences:
        _write_line(text, color)


def _write_line(text: str, color: str = "") -> None:
    _clear_status()
    text = _escape_lines(text)
    if color and has_colors(sys.stderr):
        first, space, rest = text.partition(" ")
        text = f"{click.style(first, fg=color, bold=True)}{space}{rest}"
    _write_stderr(f"{text}\n")


def show_status(text: str) -> None:
    """Show on a terminal what is being done, until something else is printed."""
    if is_terminal(sys.stderr) and not _silences:
        _clear_status()
        if os.environ.get("TERM") == "dumb":  # it cannot take a line away again
            _write_stderr(f"{escape(text)}\n")
            return
        columns = shutil.get_terminal_size().columns
        _write_stderr(escape(text)[: columns - 1])
        _statuses.append(text)


def end_status() -> None:
    """Take away what `show_status` shows."""
    _clear_status()


def _clear_status() -> None:
    if _statuses:
        _statuses.clear()
        _write_stderr(ERASE_LINE)


def _write_stderr(text: str) -> None:
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is an open terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # the stream is closed
        return False


def has_colors(stream: TextIO | None) -> bool:
    """Tell whether a stream is to have colours: NO_COLOR forbids and FORCE_COLOR demands them, else a terminal has."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def write_error(error: ZooError, *, as_json: bool) -> None:
    """Print one line per problem, or one JSON object, to stderr."""
    if not as_json:
        for problem in error.problems:
            # What is foreign in a message stays as it is; the advice is all zoo's own.
            said = str(problem).removesuffix(problem.fix)
            _write_line(f"Error: {said}{to_options(problem.fix)}", "red")
        return
    first, *others = [{"what": each.what, "why": each.why, "fix": to_options(each.fix)} for each in error.problems]
    more = {"problems": [first, *others]} if others else {}
    _write_line(json.dumps({"error": {"exit": error.exit_code, **first, **more}}))


def write_table(rows: Sequence[Sequence[str]], indent: str = "", *, numbers: bool = False) -> None:
    """Print aligned columns; with `numbers`, all but the first to the right. Cells are foreign text: escaped."""
    if not "".join(map("".join, rows)).isprintable():
        rows = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["-", *("" if numbers else "-" for _ in widths[1:])]
    form = indent + "  ".join(f"%{side}{width}s" for side, width in zip(sides, widths, strict=False))
    if rows:
        write_result("\n".join([(form % tuple(row)).rstrip() for row in rows]))
