"""Guard: an audit hook in the processes of the tests. It stops and notes what zoo promises never to do.

- Nothing is unpickled that asks for a class, but what processes of one program send each other, and torch's compiler
  keeps for itself.
- Nothing connects beyond this machine, or looks up a name of another one.
- Nothing is written, renamed or removed outside of the folders of the tests.

`conftest.py` puts it into the process of pytest; a note fails the test in which it was made. Pythons that tests start
find it by `PYTHONPATH` (`tests/guarded`), those of the fork server and of scratch installations each in their own way.
Interpreters that ignore the environment (`-I`), and what libraries write in C, are not seen.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

LOG, FOLDERS = "GUARD_LOG", "GUARD_FOLDERS"
"""Variables: the file of the notes, and folders that may be written to, joined as in `PATH`."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SENDERS = ("multiprocessing", "concurrent", "torch/multiprocessing", "execnet")
"""Libraries whose processes send each other objects."""
COPIES = ("zoo/checks/dataset/contract.py", "zoo/data/reader.py")
"""Where zoo reads what the same program pickled: a copy of a data set for its certificate, and that of a worker."""
HASHED = "torchvision/datasets/cifar.py"
"""What torchvision unpickles itself, which zoo lets it do after the hash of the archive was right."""
COMPILER = "/torch/_inductor/"
"""Torch's compiler keeps the machine code of compiled steps, as pickles that it reads again; such a cache is a program
by its nature, lies in the user's own folder, and nothing of it travels with weights or runs."""
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")
SCRATCH = re.compile(r"(tmp|zoo-|pip-|pymp-|torch|playwright|matplotlib-).*|[a-z0-9_]{8}|", re.DOTALL)
"""What libraries make in the folder of temporary files: names of theirs, eight letters by which Python tries whether it
can be written to, and files that never have a name, which are opened by that of the folder."""
SYSTEM = ("/dev/", "/proc/self/")

_busy = False


def note(rule: str, what: str) -> None:
    """Write down what was about to happen and where, and keep it from happening."""
    frame, where = sys._getframe(2), []
    while frame is not None and len(where) < 12:
        if frame.f_code.co_filename != __file__:
            where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    line = f"{rule}: {what} (process {os.getpid()}; {' < '.join(where)})\n"
    if path := os.environ.get(LOG):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(file, line.encode(errors="replace"))
        os.close(file)
    raise PermissionError(f"the guard of the tests: {rule}: {what}")


def take_notes(path: str | os.PathLike[str]) -> str:
    """Return the notes in a file, and remove it; a test may have changed what paths say of themselves."""
    try:
        with open(path, encoding="utf-8") as file:
            notes = file.read()
        os.unlink(path)
    except FileNotFoundError:
        return ""
    return notes


def look_at_class(arguments: tuple[Any, ...]) -> None:
    """Stop an unpickler that asks for a class, unless it reads what a process of the same program sent."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith(("pickle.py", "_compat_pickle.py")):
        frame = frame.f_back  # type: ignore[assignment]
    file = frame.f_code.co_filename.replace(os.sep, "/") if frame is not None else ""
    allowed = any(f"/{name}/" in file for name in SENDERS) or file.endswith((*COPIES, HASHED)) or "/tests/" in file
    allowed = allowed or COMPILER in file
    if not allowed:
        note("unpickled", f"{arguments[0]}.{arguments[1]}")


def look_at_address(arguments: tuple[Any, ...]) -> None:
    """Stop a connection to another machine; an address that is no tuple is a pipe of this one."""
    address = arguments[-1]
    if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
        note("connected", f"{address}")


def look_at_name(arguments: tuple[Any, ...]) -> None:
    """Stop a question for the address of another machine."""
    host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
    if host and not str(host).startswith(LOOPBACK) and not str(host).endswith(".invalid"):
        note("looked up", f"{host}")


def look_at_file(arguments: tuple[Any, ...]) -> None:
    """Stop what is opened to be written, in the wrong place."""
    path, _, flags = arguments
    if isinstance(flags, int) and flags & WRITING:
        look_at_place(path)


def look_at_places(paths: int, folder: int) -> Callable[[tuple[Any, ...]], None]:
    """Return a check of the first so many arguments; one of another folder, open at that place, was checked itself."""

    def look(arguments: tuple[Any, ...]) -> None:
        if len(arguments) > folder and arguments[folder] not in (-1, None):
            return
        for path in arguments[:paths]:
            look_at_place(path)

    return look


def look_at_link(arguments: tuple[Any, ...]) -> None:
    """Stop a link that is made in the wrong place; where it leads does not matter."""
    look_at_place(arguments[1])


def look_at_place(path: Any) -> None:
    """Stop a change of what does not lie below a folder of the tests."""
    if not isinstance(path, str | bytes | os.PathLike):
        return
    given = os.path.abspath(os.fsdecode(path))
    if given.startswith(SYSTEM) or f"{os.sep}__pycache__" in given:
        return
    place = os.path.join(os.path.realpath(os.path.dirname(given)), os.path.basename(given))
    for folder in os.environ.get(FOLDERS, "").split(os.pathsep):
        if folder and (place == folder or place.startswith(f"{folder}{os.sep}")):
            return
    # Not by `tempfile`, which holds a lock while it opens a file.
    for scratch in map(os.path.realpath, {os.environ.get("TMPDIR") or "/tmp", "/tmp"}):
        if f"{place}{os.sep}".startswith(f"{scratch}{os.sep}") and SCRATCH.fullmatch(place[len(scratch) + 1 :]):
            return
    note("written", given)


RULES: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "pickle.find_class": look_at_class,
    "socket.connect": look_at_address,
    "socket.sendto": look_at_address,
    "socket.sendmsg": look_at_address,
    "socket.getaddrinfo": look_at_name,
    "socket.gethostbyname": look_at_name,
    "open": look_at_file,
    "os.mkdir": look_at_places(1, 2),
    "os.remove": look_at_places(1, 1),
    "os.rmdir": look_at_places(1, 1),
    "os.rename": look_at_places(2, 2),
    "os.truncate": look_at_places(1, 9),
    "os.link": look_at_link,
    "os.symlink": look_at_link,
}


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Look at one event; what the guard does itself is passed over."""
    global _busy
    rule = RULES.get(event)
    if rule is None or _busy:
        return
    _busy = True
    try:
        rule(arguments)
    finally:
        _busy = False


def install() -> None:
    """Watch this process from now on, once."""
    if not getattr(sys, "guarded", False):
        sys.guarded = True  # type: ignore[attr-defined]
        sys.addaudithook(audit)
