"""Output of the commands: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from zoo.errors import StorageError, ZooError


def write_result(text: str) -> None:
    """Print a result to stdout at once; characters that could drive a terminal are escaped, its lines stay lines.

    Raises:
        StorageError: stdout is closed or full, so nobody gets the result.
        BrokenPipeError: the reader went away.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise StorageError("cannot write results", "stdout is closed")
    try:
        sys.stdout.write(f"{_escape_lines(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stream(sys.stdout)
        raise
    except OSError as error:
        drop_stream(sys.stdout)
        raise StorageError("cannot write results", error.strerror or str(error)) from error


def drop_stream(stream: TextIO) -> None:
    """Point stdout or stderr nowhere: what it could not write would fail again at the interpreter's end (exit 120)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def escape(text: str) -> str:
    """Return foreign text with its control characters escaped, so that it keeps to its line and drives no terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _escape_lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))


def write_json(data: Any) -> None:
    """Print exactly one JSON value to stdout."""
    write_result(json.dumps(data, allow_nan=False))


def write_note(text: str) -> None:
    """Print a line to stderr; a closed or full stderr never stops work."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(f"{_escape_lines(text)}\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass


def write_error(error: ZooError, *, as_json: bool) -> None:
    """Print one line per problem, or one JSON object, to stderr."""
    if not as_json:
        for problem in error.problems:
            write_note(f"Error: {problem}")
        return
    first, *others = [{"what": each.what, "why": each.why, "fix": each.fix} for each in error.problems]
    more = {"problems": [first, *others]} if others else {}
    write_note(json.dumps({"error": {"exit": error.exit_code, **first, **more}}))


def write_table(rows: Sequence[Sequence[str]], indent: str = "", *, numbers: bool = False) -> None:
    """Print aligned columns; with `numbers`, all but the first to the right. Cells are foreign text: escaped."""
    rows = [[escape(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) if numbers else cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        write_result((indent + "  ".join([row[0].ljust(widths[0]), *cells[1:]])).rstrip())
