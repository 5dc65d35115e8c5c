"""Processes: which one works on something, told so that others can find out whether it still does."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.records.header import is_text

PROC = Path("/proc")
ENDED = "ZXx"
"""States of a process that has ended and whose parent has not asked for it yet."""


@dataclass(frozen=True, kw_only=True)
class ProcessOrigin:
    """A process, so that no other one is taken for it; None where the system does not tell.

    Fields:
        host: The name of its machine.
        boot: What the machine's kernel calls the time since it was started.
        namespace: The set of processes that its number belongs to: containers of one machine have one each.
        pid: Its number.
        started: When it was started, in ticks of the kernel since the boot: numbers are used again.
    """

    host: str
    boot: str | None = None
    namespace: str | None = None
    pid: int
    started: int | None = None

    @classmethod
    def from_json(cls, table: Any) -> ProcessOrigin:
        """Read a table that `is_process` knows."""
        forms = {"boot": str, "namespace": str, "started": int}
        known = {key: table[key] for key, form in forms.items() if type(table.get(key)) is form}
        return cls(host=table["host"], pid=table["pid"], **known)


def describe_process() -> ProcessOrigin:
    """Return this process."""
    return _describe(os.getpid())


@cache  # a listing asks once for each run
def _describe(pid: int) -> ProcessOrigin:
    boot = namespace = None
    with suppress(OSError):
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        namespace = str((PROC / "self" / "ns" / "pid").readlink())
    found = _read_state(pid)
    return ProcessOrigin(
        host=platform.node(), boot=boot, namespace=namespace, pid=pid, started=found[1] if found else None
    )


def is_running(process: ProcessOrigin) -> bool | None:
    """Tell whether a process still runs; None where that cannot be told from here."""
    here = describe_process()
    if process.boot is None or (process.host, process.boot) != (here.host, here.boot):
        return None
    if process.namespace is not None and process.namespace != here.namespace:
        return None
    found = _read_state(process.pid)
    return found is not None and found[0] not in ENDED and process.started in (None, found[1])


def is_process(value: Any) -> bool:
    """Tell whether it is a table that says at least the host and the number of a process."""
    return isinstance(value, dict) and is_text(value.get("host")) and type(value.get("pid")) is int


def _read_state(pid: int) -> tuple[str, int] | None:
    """Return the state of a process and its start, as Linux tells them; None where there is no such process."""
    with suppress(OSError, ValueError, IndexError):
        # The name of the program, in brackets, may hold anything.
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    return None
