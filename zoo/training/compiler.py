"""Compiler: the C++ compiler as torch runs it, so that a signal ends it, and half of a file is never found.

Torch lets it write to the place where the next training looks. A process that is killed would leave half a library
there, and an interrupted one the processes that the compiler has started.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.training.signals import hurry


@contextmanager
def compiling() -> Iterator[None]:
    """Let a signal stop the body, in which torch compiles, where it is, with all C++ compilers that it has started."""
    with hurry():
        from torch._inductor import cpp_builder

        running = _Running()
        former = cpp_builder._run_compile_cmd  # type: ignore[attr-defined, unused-ignore]
        cpp_builder._run_compile_cmd = running.run  # type: ignore[attr-defined, unused-ignore]
        try:
            yield
        finally:
            cpp_builder._run_compile_cmd = former  # type: ignore[attr-defined, unused-ignore]
            running.end()


class _Running:
    """The compilers that run, which threads of torch start too."""

    def __init__(self) -> None:
        self.lock, self.is_over = threading.Lock(), False
        self.processes = set[subprocess.Popen[bytes]]()

    def run(self, cmd_line: str, cwd: str) -> None:
        """Run a command line; what it makes gets its name when it is whole. Raise torch's error where it fails."""
        from torch._inductor.exc import CppCompileError

        command = shlex.split(cmd_line)
        place = command.index("-o") + 1 if "-o" in command else 0
        made = Path(cwd, command[place])
        part = made.with_name(f".{made.name}.{os.getpid()}-{threading.get_ident()}.part")
        if place:
            command[place] = str(part)
        try:
            process = self._start(command, cwd)
            try:
                told, _ = process.communicate()
            finally:
                _end(process)
                self.processes.discard(process)
            if process.returncode:
                raise CppCompileError(command, told.decode(errors="replace"))
            if place:
                part.replace(made)
        finally:
            part.unlink(missing_ok=True)

    def end(self) -> None:
        """End all that run; no other one is started."""
        with self.lock:
            self.is_over = True
        for process in tuple(self.processes):
            _end(process)

    def _start(self, command: list[str], cwd: str) -> subprocess.Popen[bytes]:
        with self.lock:
            if self.is_over:
                raise InterruptedError("the compiler was stopped")
            # In a session of its own Ctrl-C in a terminal does not look like an error of the compiler.
            process = subprocess.Popen(
                command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
            self.processes.add(process)
            return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a compiler and what it has started; SIGTERM lets it remove its own files first."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
    process.wait()
