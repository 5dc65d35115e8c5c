"""Processes: run plugins in another Python, where they may print, hang, crash or leave threads and children behind."""

from __future__ import annotations

import errno
import importlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import IO, Any, cast

Write = Callable[[dict[str, Any]], None]
Answer = Callable[[dict[str, Any], Write], None]

PORTS = range(20_000, 32_768)
"""Ports that no system gives to those who ask it for any port, as every connection does."""

is_contained = False
"""Whether this is such a process: what runs in it needs no other one around it."""


class Process:
    """Another Python process, which answers questions. A question and each of its answers is a line of JSON.

    It imports from the same places as this one, and whatever plugins print there is thrown away.

    Args:
        answer: Called there with each question and with `write`, which it calls with each answer. It must be a function
            at the top of a module.
        environment: Variables that differ from those of this process.

    Raises:
        OSError: no process could be started.
    """

    def __init__(self, answer: Answer, environment: Mapping[str, str] | None = None) -> None:
        paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        self._process = subprocess.Popen(
            # -P: a folder called zoo in the current folder must not be taken for this package.
            [sys.executable, "-P", "-m", "zoo.storage.processes", answer.__module__, answer.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            encoding="utf-8",
            start_new_session=True,
        )
        self._stdin, self._stdout = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        # Only a thread can wait for a line and for a time limit on every operating system.
        self._reader = threading.Thread(target=self._read_answers, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, question: Mapping[str, Any], time_limit: float) -> dict[str, Any]:
        """Send a question and return its one answer, or raise what `receive` raises."""
        self.send(question)
        return self.receive(time_limit)

    def send(self, question: Mapping[str, Any]) -> None:
        """Send a question. Where the process has ended, `receive` says so."""
        with suppress(OSError):
            self._stdin.write(json.dumps(question) + "\n")
            self._stdin.flush()

    def receive(self, time_limit: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            TimeoutError: none came for `time_limit` seconds; the process is killed.
            EOFError: the process has ended, with its exit code or signal in words.
        """
        try:
            found = self._answers.get(timeout=time_limit)
            if found is not None:
                return found
            code = self._process.wait(time_limit)
        except (queue.Empty, subprocess.TimeoutExpired):
            self.close()
            raise TimeoutError(f"it took more than {time_limit:g} s") from None
        self.close()
        end = f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
        raise EOFError(f"it ended the process ({end})")

    def close(self) -> None:
        """Kill the process with all that it started, and wait for its end."""
        if not self._stdin.closed:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self._process.kill()
            self._process.wait()
            self._reader.join(1)  # no longer: something that left the group of processes may hold the pipe open
            with suppress(OSError):  # what was not sent is sent here, to nobody
                self._stdin.close()

    def _read_answers(self) -> None:
        """Pass on each answer, and None once no more can come."""
        with self._stdout, suppress(OSError, ValueError):
            for line in self._stdout:
                self._answers.put(json.loads(line))
        self._answers.put(None)


def find_port() -> int:
    """Return a port of this machine that nobody has, for whoever takes it a moment later.

    Raises:
        OSError: none was found.
    """
    for port in SystemRandom().sample(PORTS, 100):
        with socket.socket() as server, suppress(OSError):
            server.bind(("", port))
            return port
    raise OSError(errno.EADDRINUSE, f"no free port was found from {PORTS.start} to {PORTS.stop - 1}")


def main(module: str, name: str) -> None:
    """In the other process: answer the questions on stdin until nobody can ask any more."""
    questions, answers = take_over(0, "r"), take_over(1, "w")

    def write(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    # This file runs here as __main__; the flag is for those who import it.
    importlib.import_module("zoo.storage.processes").is_contained = True  # type: ignore[attr-defined]
    try:
        answer: Answer = getattr(importlib.import_module(module), name)
        for question in questions:
            answer(json.loads(question), write)
    finally:
        os._exit(1)  # no thread and no exit handler of a plugin can hold up the end


def take_over(descriptor: int, mode: str) -> IO[str]:
    """Return stdin or stdout for zoo alone: plugins, and processes that they fork, find the null device there."""
    own, null = os.dup(descriptor), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
        os.register_at_fork(after_in_child=lambda: os.dup2(null, own, inheritable=False))
    return os.fdopen(own, mode, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
