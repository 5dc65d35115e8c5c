"""Children: other Python processes of ours, in which code of plugins may end, hang or print as it likes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def start_module(module: str, *arguments: str, environment: dict[str, str] | None = None, **options: Any) -> Any:
    """Start a module of ours in another process, which imports from the same places; return its `Popen`.

    `environment` adds to this one's, `options` are those of `Popen`; without them nothing is read or written.

    Raises:
        OSError: no process could be started.
    """
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen(
        # -P: a folder called zoo in the current folder must not be taken for this package.
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
        start_new_session=True,
        **{**quiet, **options},
    )


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process with those it started, and wait for it."""
    import signal

    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def describe_end(code: int) -> str:
    """Return in words how a process ended."""
    import signal

    return f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"


def open_channel() -> IO[str]:
    """In such a process: return its stdout, to which nothing else prints from now on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return channel
