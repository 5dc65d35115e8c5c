"""Files: the one way zoo writes one, whole or not at all.

A file is written beside its target under a name of its own, brought to the disk and renamed over the target. So whoever
reads the target sees the former content or the new one, and after a return the new one survives a crash.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from zoo.errors import StorageError
from zoo.storage.reading import check_regular

ON_WINDOWS = os.name == "nt"
PART_PATTERN = re.compile(r"\..*\.([0-9]{1,9})-[0-9a-f]{8}\.part", re.DOTALL)
# Some operating system allows no such name: separators, wildcards, a trailing dot or space, names of devices.
UNSAFE_NAME = re.compile(r'|.*[\\/:*?"<>|\x00-\x1f].*|.*[. ]|(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.DOTALL | re.I)
EARLY = 1 << 22
"""Bytes from which on the disk begins to write what is to be synced in the end: it then has less to catch up."""
ELSEWHERE = "Use runs_dir=... to write elsewhere."
REASONS = {
    "EIO": "the disk reported an error (EIO)",
    "ENOENT": "the folder does not exist",
    "ENOSPC": "the disk is full",
    "EROFS": "the folder is read-only",
}


def write_file(
    path: str | Path,
    data: bytes | Iterable[bytes | memoryview],
    *,
    what: str,
    fix: str = ELSEWHERE,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write `data` to `path` and return once it is safe on the disk; `what` names it in errors, `fix` is their advice.

    `check` gets the written file before it takes the place of the old one; what it raises leaves that as it was.
    Raise StorageError (full, read-only, permission, no such folder, not a regular file) and leave `path` as it was;
    only where the disk fails to make the rename durable, `path` is new already: an error means "not known to be safe".
    A symbolic link to a file, or to nothing, gives way to the new file, and what it leads to stays as it is: whoever
    made the link may have meant somebody else's file. An existing file keeps its permission bits. Errors of the
    iterable `data` and of `check` pass unchanged: a failed download is no disk error.
    """
    path = Path(path)
    foreign: list[Exception] = []
    try:
        # Where the folder is now: what `data` and `check` run may change the current one.
        mode, target = _find_mode(path), Path(os.path.realpath(path.parent), path.name)
        with _part_file(target, _read_chunks(data, foreign), mode) as part:
            if check is not None:
                with _note_errors(foreign):
                    check(part)
            _replace(part, target)
            sync_folder(target.parent)
    except (OSError, ValueError) as error:
        if error in foreign:
            raise
        size = len(data) if isinstance(data, bytes) else None
        raise describe_failure(f"cannot save {what} to {path}", error, path.parent, fix, size) from error


def place_file(part: Path, target: Path, *, what: str, fix: str) -> None:
    """Give a file that was written beside `target` its name, and return once it is safe on the disk.

    It is for files too large to be written twice, whose content was checked; `write_file` is for all others. Raise
    StorageError and leave `target` as it was.
    """
    try:
        # Windows syncs what is open for writing only; elsewhere the file may be one that its owner may only read.
        file = os.open(part, (os.O_RDWR if ON_WINDOWS else os.O_RDONLY) | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.fsync(file)
        finally:
            os.close(file)
        _replace(part, target)
        sync_folder(target.parent)
    except (OSError, ValueError) as error:
        raise describe_failure(f"cannot save {what} to {target}", error, target.parent, fix) from error


@dataclass(frozen=True)
class FileState:
    """What tells that a file has changed.

    Fields:
        path: Where it is.
        modified: Time of its last change, in nanoseconds; None where there is no file.
        size: Its size in bytes; None where there is no file.
    """

    path: str
    modified: int | None = None
    size: int | None = None

    @property
    def is_current(self) -> bool:
        """Whether the file is still like that."""
        return describe_file(self.path) == self


def describe_file(path: str | Path) -> FileState:
    """Return the state of a file, which need not exist."""
    try:
        found = Path(path).stat()
    except OSError:
        return FileState(str(path))
    return FileState(str(path), found.st_mtime_ns, found.st_size)


def digest(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal, also of a path that is not valid Unicode."""
    import hashlib

    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def check_writable(folder: str | Path, *, fix: str) -> None:
    """Make `folder` if it is missing and prove that a file can be written there; raise StorageError with `fix`."""
    folder = Path(folder)
    try:
        make_folder(folder)
        with _part_file(folder / "check", (b"zoo",), None):
            pass
    except (OSError, ValueError) as error:
        raise describe_failure(f"cannot write to {folder}", error, folder, fix) from error


def _find_mode(path: Path) -> int | None:
    """Return the permission bits of an existing file, None when there is none or a link that gives way."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    check_regular(mode)  # the rename would turn a device, or a link to one, into a plain file
    return None if path.is_symlink() else mode & 0o777


def _read_chunks(data: bytes | Iterable[bytes | memoryview], foreign: list[Exception]) -> Iterator[bytes | memoryview]:
    """Yield the chunks of `data`, and note in `foreign` an error that comes from there and not from the disk."""
    with _note_errors(foreign):
        yield from (data,) if isinstance(data, bytes) else data


@contextmanager
def _note_errors(foreign: list[Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        foreign.append(error)
        raise


@contextmanager
def _part_file(target: Path, chunks: Iterable[bytes | memoryview], mode: int | None) -> Iterator[Path]:
    """Yield a new file beside `target`, written and safe on the disk; remove it at the end unless it was renamed."""
    for stale in find_stale_parts(target.parent):
        with suppress(OSError):  # also raised for folders
            stale.unlink()
    part = name_part(target)
    file = open_new(part, mode)
    try:
        fill(file, chunks, mode)
        yield part
    finally:
        with suppress(OSError):
            part.unlink()


def open_new(path: Path, mode: int | None = None) -> int:
    """Return the descriptor of a file that was not there yet, to be written."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666 if mode is None else mode)


def fill(file: int, chunks: Iterable[bytes | memoryview], mode: int | None = None) -> None:
    """Write the content of a new file, and close it once it is safe on the disk; it gets permission bits, if given."""
    try:
        # Called only where the umask took bits away: file systems without permissions refuse the call.
        if mode is not None and not ON_WINDOWS and os.fstat(file).st_mode & 0o777 != mode:
            os.fchmod(file, mode)
        written = begun = 0
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(file, rest) :]
            written += len(chunk)
            if written - begun >= EARLY:
                _begin_syncing(file, begun, written - begun)
                begun = written
        os.fsync(file)
    finally:
        os.close(file)


def _begin_syncing(file: int, start: int, size: int) -> None:
    """Let the disk begin with a part of a file while the rest is still to be written, where the system can."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # it is advice
            # Linux begins to write what is said to be needed no more; what the disk does not have yet it keeps.
            os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)


def _replace(part: Path, target: Path) -> None:
    """Rename; on Windows wait up to half a second for a program that has `target` open."""
    for _ in range(10 if ON_WINDOWS else 0):
        with suppress(PermissionError):
            part.replace(target)
            return
        time.sleep(0.05)
    part.replace(target)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where a folder can be opened (not on Windows) and synced."""
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


def name_part(target: Path) -> Path:
    """Return a name of its own beside `target` for what is not whole yet, or not any more."""
    stem = target.name.encode(errors="ignore")[:100].decode(errors="ignore")  # so that the longer name fits as well
    return target.with_name(f".{stem}.{os.getpid()}-{os.urandom(4).hex()}.part")


def find_stale_parts(folder: Path) -> list[Path]:
    """Return what killed writers left in `folder` more than a day ago; never an error."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if match := PART_PATTERN.fullmatch(entry.name):
                with suppress(OSError):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if age > 24 * 3600 and (ON_WINDOWS or not is_running(int(match[1]))):
                        found.append(Path(entry.path))
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process exists. Never call it on Windows, where os.kill would end that process."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durable where they are missing; raise OSError where it is something else."""
    missing = list(takewhile(lambda each: not os.path.lexists(each), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        folder.stat()  # raises the better error for a loop of links or a link to nowhere
        raise NotADirectoryError(errno.ENOTDIR, "not a folder") from None
    for made in missing:
        sync_folder(made.parent)


def describe_failure(what: str, error: Exception, folder: Path, fix: str, size: int | None = None) -> StorageError:
    """Return the error that says in plain words why the system refused."""
    code = errno.errorcode.get(getattr(error, "errno", None) or 0, "")
    why = REASONS.get(code) or getattr(error, "strerror", None) or str(error)
    if code == "ENOSPC":
        fix, needed = f"Free some space. {fix}", "" if size is None else f"{size / 1e6:.1f} MB to write, "
        with suppress(OSError, AttributeError):  # Windows has no statvfs
            disk = os.statvfs(folder)
            free = f"{disk.f_bavail * disk.f_frsize / 1e6:.1f} MB free"
            why = "no inodes left" if disk.f_files and not disk.f_favail else f"the disk is full ({needed}{free})"
    return StorageError(what, why, fix)
