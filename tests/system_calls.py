"""System calls of a forked process: each one that changes a folder is counted, and one of them can fail or be the last.

The process is traced as strace does it, with ptrace and a filter of the calls that matter, so that they are those that
the system sees, whatever library makes them and in whatever thread. It needs Linux on x86-64, no other program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine

AVAILABLE = sys.platform == "linux" and machine() == "x86_64"

TRACEME, CONT, SETOPTIONS, POKEUSER, GET_SYSCALL_INFO = 0, 7, 0x4200, 6, 0x420E
# Follow forks, vforks and threads, stop where the filter says so, and end the process with this one.
OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000
FILTERED = signal.SIGTRAP | 7 << 8
ORIG_RAX, RAX = 15 * 8, 10 * 8
ALL_TASKS = 0x40000000
NO_NEW_PRIVILEGES, SET_FILTER = 38, 22
AT_FDCWD = -100
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Of each call its name, and where in its arguments the folder, the path and the flags are, or the descriptor.
PATHS = {
    2: ("open", None, 0),
    257: ("open", 0, 1),
    85: ("open", None, 0),
    76: ("truncate", None, 0),
    82: ("rename", None, 0),
    264: ("rename", 0, 1),
    316: ("rename", 0, 1),
    83: ("mkdir", None, 0),
    258: ("mkdir", 0, 1),
    84: ("rmdir", None, 0),
    87: ("unlink", None, 0),
    263: ("unlink", 0, 1),
    86: ("link", None, 1),
    265: ("link", 2, 3),
    88: ("symlink", None, 1),
    266: ("symlink", 1, 2),
    90: ("chmod", None, 0),
    268: ("chmod", 0, 1),
    280: ("utime", 0, 1),
}
DESCRIPTORS = {
    1: ("write", 0),
    18: ("write", 0),
    20: ("write", 0),
    40: ("write", 0),
    326: ("write", 2),
    74: ("fsync", 0),
    75: ("fsync", 0),
    77: ("truncate", 0),
    285: ("allocate", 0),
    91: ("chmod", 0),
}
FLAGS = {2: 1, 257: 2}


def make_filter() -> bytes:
    """Return a program of the kernel's packet filter that stops at the calls above and lets all others pass."""
    calls = sorted({*PATHS, *DESCRIPTORS})
    load = struct.pack("<HBBI", 0x20, 0, 0, 0)
    jumps = [struct.pack("<HBBI", 0x15, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    passing, tracing = (struct.pack("<HBBI", 0x06, 0, 0, answer) for answer in (0x7FFF0000, 0x7FF00000))
    return b"".join([load, *jumps, passing, tracing])


@dataclass
class Fault:
    """What happens at the call of this number, from 1 on: `KILL` before it, an error such as `EIO` in its place.

    `FULL` lets it and all later calls that need room fail with ENOSPC, as on a disk that is full.
    """

    call: int = 0
    what: str = ""


@dataclass
class Ending:
    """How a process ended: its exit code, negative for a signal, and the calls that it made in the folder."""

    code: int = 0
    calls: list[str] = field(default_factory=list)
    struck: str = ""


NEEDS_ROOM = ("open", "write", "mkdir", "link", "symlink", "truncate", "allocate", "rename", "fsync")


def run_traced(action: Callable[[], int], folder: str, fault: Fault) -> Ending:
    """Fork a process that ends with what `action` returns, and let its calls below `folder` meet a fault."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    program = make_filter()
    held = ctypes.create_string_buffer(program)
    chosen = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(held))
    child = os.fork()
    if not child:
        code = 99
        try:
            libc.ptrace(TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SET_FILTER, 2, chosen, 0, 0):
                raise OSError(ctypes.get_errno(), "no filter of calls")
            code = action()
        finally:
            os._exit(code)
    os.waitpid(child, 0)
    libc.ptrace(SETOPTIONS, child, None, OPTIONS)
    libc.ptrace(CONT, child, None, None)
    ending = Ending()
    info = ctypes.create_string_buffer(88)
    while True:
        task, status = os.waitpid(-1, ALL_TASKS)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if task == child:
                ending.code = os.waitstatus_to_exitcode(status)
                return ending
            continue
        passed = 0
        if status >> 8 == FILTERED:
            libc.ptrace(GET_SYSCALL_INFO, task, len(info), ctypes.addressof(info))
            if error := _meet(child, info.raw, folder, fault, ending):
                # No call has this number: it is passed over, and what is in the other register is its answer.
                libc.ptrace(POKEUSER, task, ORIG_RAX, -1 & (1 << 64) - 1)
                libc.ptrace(POKEUSER, task, RAX, -error & (1 << 64) - 1)
        elif os.WSTOPSIG(status) not in (signal.SIGTRAP, signal.SIGSTOP):
            passed = os.WSTOPSIG(status)
        libc.ptrace(CONT, task, None, passed)


def _meet(process: int, info: bytes, folder: str, fault: Fault, ending: Ending) -> int:
    """Look at a call that is about to be made; return the error that it is to give, 0 for none."""
    call, *arguments = struct.unpack_from("<7Q", info, 24)
    name = _name_call(process, call, arguments, folder)
    if not name:
        return 0
    ending.calls.append(name)
    count = len(ending.calls)
    if fault.what == "FULL" and count >= fault.call and name in NEEDS_ROOM:
        ending.struck = ending.struck or name
        return errno.ENOSPC
    if count != fault.call:
        return 0
    ending.struck = name
    if fault.what == "KILL":
        os.kill(process, signal.SIGKILL)
        return 0
    return getattr(errno, fault.what, 0)


def _name_call(process: int, call: int, arguments: list[int], folder: str) -> str:
    """Return the name of a call that changes something below a folder, else nothing."""
    path = ""
    with suppress(OSError):
        if call in DESCRIPTORS:
            name, place = DESCRIPTORS[call]
            path = str(Path(f"/proc/{process}/fd/{arguments[place]}").readlink())
        elif call in PATHS:
            name, folder_at, place = PATHS[call]
            if call in FLAGS and not arguments[FLAGS[call]] & WRITING:
                return ""
            path = _read_text(process, arguments[place])
            if not path.startswith("/"):
                start = AT_FDCWD if folder_at is None else ctypes.c_int(arguments[folder_at] & 0xFFFFFFFF).value
                base = "cwd" if start == AT_FDCWD else f"fd/{start}"
                path = f"{Path(f'/proc/{process}/{base}').readlink()}/{path}"
    return name if path.startswith(f"{folder}/") or path == folder else ""


def _read_text(process: int, address: int) -> str:
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 it is no plain file
        memory.seek(address)
        try:
            found = memory.read(4096 - address % 4096)
            while b"\0" not in found and len(found) < 8192:
                found += memory.read(4096)
        except OSError:
            return ""
    return os.fsdecode(found.partition(b"\0")[0])
