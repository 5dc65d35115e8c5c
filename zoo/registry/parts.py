"""Part files: downloads that are not whole yet, kept beside their target so that the next try goes on from there.

All that is known of one stands in its name, so that it survives a process that was killed:
`.NAME.KEY.VALIDATOR.MACHINE.PID-RANDOM.partial`. The key stands for an address and a checksum, the validator is what
the server called that version of the file, in hexadecimal, and the number of the process is 0 once none writes it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.registry.verification import ELSEWHERE, new_digest
from zoo.storage.files import ON_WINDOWS, describe_failure, is_running, place_file

PATTERN = re.compile(
    r"\.(?P<stem>.*)\.(?P<key>[0-9a-f]{16})\.(?P<validator>([0-9a-f]{2})*)\.(?P<machine>[0-9a-f]{8})"
    r"\.(?P<pid>[0-9]{1,10})-[0-9a-f]{8}\.partial",
    re.DOTALL,
)
QUIET, KEPT = 600.0, 7 * 24 * 3600.0
"""Seconds without a new byte after which no process writes a part file any more, and after which it is removed."""
MAX_VALIDATOR = 40
"""Bytes of a validator that fit into the name of a file; a longer one is not kept."""
FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class FoundPart:
    """A part file in a folder.

    Fields:
        path: Where it is.
        stem: The name of its target, the first hundred bytes of a longer one.
        key: What it is a part of.
        validator: What the server called that version of the file, empty where that is not known.
        size: Its size in bytes.
        age: Seconds since its last change.
        is_busy: Whether a process may still write it.
    """

    path: Path
    stem: str
    key: str
    validator: str
    size: int
    age: float
    is_busy: bool


def find_parts(target: Path) -> list[FoundPart]:
    """Return the part files of a target, the largest first."""
    return [part for part in _scan(target.parent) if part.stem == _cut(target.name)]


def remove_parts(target: Path) -> None:
    """Remove the part files of a target that no process writes; never an error."""
    for part in find_parts(target):
        _remove(part)


def remove_old_parts(folder: Path) -> None:
    """Remove the part files in a folder that nobody went on with for days; never an error."""
    for part in _scan(folder):
        if part.age > KEPT:
            _remove(part)


def make_key(url: str, digest: str) -> str:
    """Return what names the parts of one file from one address."""
    return hashlib.sha256(f"{url}\n{digest}".encode()).hexdigest()[:16]


def _remove(part: FoundPart) -> None:
    if not part.is_busy:
        with suppress(OSError):
            part.path.unlink()


def _scan(folder: Path) -> list[FoundPart]:
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if match := PATTERN.fullmatch(entry.name):
                with suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    # What a link, or the other name of a hard link, leads to may be anybody's: nobody appends to it.
                    if stat.S_ISREG(state.st_mode) and (ON_WINDOWS or state.st_nlink == 1):
                        found.append(_describe(Path(entry.path), match, state))
    return sorted(found, key=lambda part: (-part.size, part.path.name))


def _describe(path: Path, match: re.Match[str], state: os.stat_result) -> FoundPart:
    age, pid = time.time() - state.st_mtime, int(match["pid"])
    # On Windows a process that has the file open keeps others from renaming it, and none need be asked for.
    alive = pid != 0 and not ON_WINDOWS and (match["machine"] != _name_machine() or is_running(pid))
    validator = bytes.fromhex(match["validator"]).decode("latin-1")
    return FoundPart(path, match["stem"], match["key"], validator, state.st_size, age, alive and age < QUIET)


def _cut(name: str) -> str:
    return name.encode(errors="ignore")[:100].decode(errors="ignore")


def _name_machine() -> str:
    """Return what tells the process numbers of this machine, or of this container, from those of others."""
    namespace = ""
    with suppress(OSError):  # Linux alone has it
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()}\n{namespace}".encode(errors="replace")).hexdigest()[:8]


class Part:
    """A part file that this process writes; raises StorageError where the disk refuses.

    Fields:
        size: Its size in bytes.
        pieces: Of how many answers it consists, as far as that is known: from two on they may not fit together.
        validator: What the server calls this version of the file, empty where that is not known.
    """

    def __init__(self, target: Path, key: str) -> None:
        self.target, self.key = target, key
        # Another thread may write while this one closes, and the number of a closed file becomes that of the next one.
        self._guard = threading.Lock()
        with self._told():
            if not any(map(self._take_over, find_parts(target))):
                self._begin()

    def _take_over(self, found: FoundPart) -> bool:
        """Go on with a part that no process writes; renaming it is what one process alone can do."""
        if found.key != self.key or found.is_busy:
            return False
        self.validator, self.pieces = found.validator, 1
        self.path = self._name(os.getpid())
        try:
            found.path.rename(self.path)
            self._stream: Any = os.fdopen(os.open(self.path, FLAGS), "r+b")
        except OSError:
            return False
        self.size = self._stream.seek(0, os.SEEK_END)
        return True

    def _begin(self) -> None:
        self.validator, self.size, self.pieces = "", 0, 0
        self.path = self._name(os.getpid())
        self._stream = os.fdopen(os.open(self.path, FLAGS | os.O_CREAT | os.O_EXCL, 0o666), "r+b")

    def _name(self, pid: int) -> Path:
        known = self.validator.encode("latin-1", errors="ignore").hex()
        owner = f"{_name_machine()}.{pid}-{os.urandom(4).hex()}"
        return self.target.with_name(f".{_cut(self.target.name)}.{self.key}.{known}.{owner}.partial")

    def begin_piece(self, validator: str) -> None:
        """Note that an answer begins, of a file that its server calls so."""
        self.pieces += 1
        # Windows renames no file that is open: there the version is not known, and the checksum alone decides.
        if self.size == 0 and 0 < len(validator) <= MAX_VALIDATOR and not ON_WINDOWS:
            self.validator = validator
            with self._told():
                self.path = self.path.rename(self._name(os.getpid()))

    def append(self, chunk: bytes) -> None:
        """Write the next bytes; after `close` they are dropped."""
        with self._guard, self._told():
            if not self._stream.closed:
                self._stream.write(chunk)
                self.size += len(chunk)

    def read_head(self) -> bytes:
        """Return the first bytes."""
        self._stream.seek(0)
        head: bytes = self._stream.read(512)
        self._stream.seek(0, os.SEEK_END)
        return head

    def hash(self, algorithm: str) -> str:
        """Return the checksum of what is in the file, read from there: another process may have written too."""
        with self._told():
            self._stream.flush()
            self._stream.seek(0)
            digest: str = hashlib.file_digest(self._stream, lambda: new_digest(algorithm)).hexdigest()
            self._stream.seek(0, os.SEEK_END)
        return digest

    def finish(self) -> None:
        """Give the file its name, once it is safe on the disk, and remove what else was begun of it."""
        with self._guard, self._told():
            self._stream.close()
        place_file(self.path, self.target, what=self.target.name, fix=ELSEWHERE)
        remove_parts(self.target)

    def restart(self, *, keep: bool = False) -> None:
        """Begin anew with no bytes; with `keep`, what was there stays for another time."""
        self.close() if keep else self.discard()
        with self._told():
            self._begin()

    def discard(self) -> None:
        """Remove the file."""
        self._close()
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Leave the file to whoever goes on, unless there is a larger one; one that has got its name is left alone."""
        self._close()
        with suppress(OSError):
            size = self.path.stat().st_size
            others = [part for part in find_parts(self.target) if part.key == self.key and part.path != self.path]
            if size <= max((part.size for part in others if not part.is_busy), default=0):
                self.path.unlink()
                return
            self.path.rename(self._name(0))
            for part in others:
                _remove(part)

    def _close(self) -> None:
        # What finds no room on the disk is lost: it is asked for again.
        with self._guard, suppress(OSError):
            self._stream.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise describe_failure(
                f"cannot download into {self.target.parent}", error, self.target.parent, ELSEWHERE
            ) from error
