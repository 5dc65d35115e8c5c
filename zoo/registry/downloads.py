"""Downloads: the files of a data set, from several sources, checked by size and checksum before they appear."""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from zoo.errors import DownloadError, StorageError, describe
from zoo.registry.pace import TooSlow, keep_pace
from zoo.registry.specs import FileSpec
from zoo.registry.unpacking import check_unpacked
from zoo.registry.verification import ELSEWHERE, NAMES, check_file, new_digest
from zoo.storage.files import check_writable, lock, write_file
from zoo.storage.folders import zoo_home

# In seconds. A server may pause for READ_TIMEOUT at most; the whole download may take as long as it needs at the pace
# that zoo.registry.pace asks for.
CONNECT_TIMEOUT, READ_TIMEOUT, LOCK_TIMEOUT = 10.0, 30.0, 3600.0
# A source that is busy or breaks off is tried TRIES times, with a pause of BACK_OFF seconds that doubles each time.
TRIES, BACK_OFF = 3, 1.0
# In bytes. Up to SPOOL a download waits in memory until it is checked, beyond in a nameless file beside its target. The
# pace of a download is counted by chunks, so several of them have to fit into its window at the lowest rate.
CHUNK, SPOOL = 1 << 13, 32 << 20
BY_HAND = "put these files into {} under these names and run again, or use data_dir=... for a folder that has them."
Report = Callable[[str], None]


def fetch_files(
    files: Sequence[FileSpec],
    root: Path,
    *,
    offline: bool = False,
    name: str,
    homepage: str = "",
    report: Report | None = None,
) -> None:
    """Fetch the missing files of data set `name` into `root`, and verify those that are there.

    Files that are there are only read. `report` gets one line when a download starts. `homepage` is where an error
    tells people to get what cannot be fetched.

    Raises:
        DataError: a file is there but is not the one declared, or does not unpack to what is; it is never replaced.
        DownloadError: a file is missing and `offline`, or no source has it.
        StorageError: a file cannot be read or written, or the disk is too small.
    """
    root = root.absolute()
    missing = [file for file in files if not _is_there(file, root, name)]
    what, paths, by_hand = f"cannot download {name}", [file.path for file in missing], BY_HAND.format(root)
    if offline and missing:
        fix = f"Run with offline=False, or {by_hand}" if any(file.urls for file in missing) else f"P{by_hand[1:]}"
        raise DownloadError(what, f"offline and not there: {', '.join(paths)}", fix)
    _check_space(missing, root)
    useless: dict[str, _SourceError] = {}
    for number, file in enumerate(missing):
        path = (root / file.path).resolve()
        # Not beside the file: a data folder may be read-only, and holds nothing but data.
        with lock(zoo_home() / "locks" / f"{hashlib.sha256(bytes(path)).hexdigest()[:32]}.lock", timeout=LOCK_TIMEOUT):
            # The lock only saves work: another process may have fetched the file, and never shows half of one.
            causes = [] if _is_there(file, root, name) else _try_sources(file, path, useless, report)
        if causes:
            why = f"{file.path}: {'; '.join(causes)}"
            where = "elsewhere" if file.urls or not homepage else f"from {homepage}"
            raise DownloadError(what, why, f"Get {', '.join(paths[number:])} {where}, {by_hand}")
        check_unpacked(path, file, name)


def _is_there(file: FileSpec, root: Path, name: str) -> bool:
    """Tell whether the file or its unpacked form is there; each one that is there must be right, as it may be read."""
    found = check_file(root / file.path, file.size, file.digest, name, file.algorithm)
    if found:
        check_unpacked(root / file.path, file, name)
    if file.unpacked_size is not None and file.unpacked_sha256 is not None:
        unpacked = root / file.path.removesuffix(".gz")
        found |= check_file(unpacked, file.unpacked_size, file.unpacked_sha256, name)
    return found


def _check_space(files: Sequence[FileSpec], root: Path) -> None:
    # The largest file needs twice its size while it is checked and moved to its place. Of some the size is not known.
    sizes = [file.size or 0 for file in files]
    needed = sum(sizes) + max(sizes, default=0)
    folder = next(folder for folder in (root, *root.parents) if folder.exists())
    if (free := shutil.disk_usage(folder).free) < needed:
        why = f"expected {needed / 1e6:.1f} MB of free space, got {free / 1e6:.1f} MB"
        raise StorageError(f"cannot download into {root}", why, ELSEWHERE)


class _SourceError(Exception):
    """A source gave no file. `again`: another try may help. `host`: no other file of its host can be had either."""

    def __init__(self, cause: str, *, again: bool = False, host: bool = False) -> None:
        super().__init__(cause)
        self.again, self.host = again, host


def _try_sources(file: FileSpec, path: Path, useless: dict[str, _SourceError], report: Report | None) -> list[str]:
    """Try the sources in turn; return why each failed, or nothing. Hosts that are down are noted in `useless`."""
    check_writable(path.parent, fix=ELSEWHERE)
    causes = []
    for url in file.urls:
        host = urlsplit(url).netloc.rpartition("@")[2]
        try:
            if host in useless:
                raise useless[host]
            if report:
                size = "" if file.size is None else f" ({file.size / 1e6:.1f} MB)"
                report(f"downloading {path.name}{size} from {host}")
            _download_patiently(url, file, path)
            return []
        except _SourceError as error:
            causes.append(f"{host}: {error}")
            if error.host:
                useless[host] = error
    return causes or ["no source is declared"]


def _download_patiently(url: str, file: FileSpec, path: Path) -> None:
    for attempt in range(TRIES):
        try:
            return _download(url, file, path)
        except _SourceError as error:
            if not error.again or attempt == TRIES - 1:
                raise
            time.sleep(BACK_OFF * 2**attempt)


def _download(url: str, file: FileSpec, path: Path) -> None:
    """Try once to download a file, check it and write it; raise _SourceError or StorageError."""
    from pooch import HTTPDownloader  # type: ignore[import-untyped]
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    with SpooledTemporaryFile(SPOOL, dir=str(path.parent)) as spool, closing(_Transfer(file, spool, path)) as transfer:
        options = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": transfer.check_response}}
        try:
            get = HTTPDownloader(False, CHUNK, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), **options)
            grace = CONNECT_TIMEOUT + READ_TIMEOUT
            keep_pace(lambda: get(url, transfer, None), lambda: transfer.size, grace=grace)
            transfer.check_whole()
            spool.seek(0)
            write_file(path, iter(lambda: spool.read(CHUNK), b""), what=path.name)
        except TooSlow as error:
            raise _SourceError(str(error), host=True) from error
        except StorageError as error:
            raise StorageError(error.what, error.why, ELSEWHERE) from error
        except (RequestException, HTTPError, ValueError) as error:
            raise _explain(error) from error
        except OSError as error:
            raise StorageError(f"cannot download into {path.parent}", describe(error), ELSEWHERE) from error


def _borrow_socket(response: Any) -> socket.socket:
    """Return another handle of the socket of a response; raise OSError or ValueError where it has none any more."""
    return socket.fromfd(response.raw.fileno(), socket.AF_INET, socket.SOCK_STREAM)


class _Transfer:
    """One download: requests passes each response before it follows a redirect, pooch writes the bytes."""

    def __init__(self, file: FileSpec, spool: IO[bytes], path: Path) -> None:
        self.file, self.spool = file, spool
        self.size, self.head, self.digest = 0, b"", new_digest(file.algorithm)
        # Of a file of unknown size, as much is taken as the disk has room for: while it is checked it is there twice.
        self.most = shutil.disk_usage(path.parent).free // 2 if file.size is None else file.size
        self.response: Any = None

    def flush(self) -> None:
        """Do nothing: pooch calls it after each chunk."""

    def close(self) -> None:
        """End the connection, also one that another thread waits for: it would hold the response until it has read."""
        if self.response is not None:
            # The other thread may close it meanwhile, which libraries tell by errors of many kinds.
            with suppress(OSError, ValueError, AttributeError), closing(_borrow_socket(self.response)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            self.response.close()

    def check_response(self, response: Any, **_: object) -> None:
        """Refuse a redirect to anything but https; a server on this machine may also redirect to this machine."""
        self.response = response
        # Some servers call the compression of a .gz file an encoding, and requests would undo it.
        response.raw.headers.pop("Content-Encoding", None)
        if response.is_redirect:
            response.close()  # requests would read the body of a redirect to its end
            here, there = urlsplit(response.url), urlsplit(urljoin(response.url, response.headers["Location"]))
            local = here.scheme == there.scheme == "http" and there.hostname in ("127.0.0.1", "localhost")
            if there.scheme != "https" and not local:
                raise _SourceError(f"refused a redirect to {there.scheme}://{there.hostname or ''}")

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; raise _SourceError when there are more than declared, or than there is room for."""
        self.head = self.head or chunk[:512].lower()
        self.size += len(chunk)
        if self.size > self.most:
            limit = "there is room for" if self.file.size is None else "expected"
            raise self._wrong(f"sent more than the {self.most} bytes {limit}")
        self.digest.update(chunk)
        self.spool.write(chunk)

    def check_whole(self) -> None:
        """Raise _SourceError when the bytes are not those declared."""
        if self.file.size is not None and self.size < self.file.size:
            raise self._wrong(f"sent {self.size} of {self.file.size} bytes", again=True)
        if (got := self.digest.hexdigest()) != self.file.digest:
            raise self._wrong(f"expected {NAMES[self.file.algorithm]} {self.file.digest}, got {got}")

    def _wrong(self, cause: str, again: bool = False) -> _SourceError:
        if b"<!doctype html" in self.head or b"<html" in self.head:
            cause, again = f"{cause}; it looks like a web page (a login?)", False
        return _SourceError(cause, again=again)


def _explain(error: Exception) -> _SourceError:
    """Say in plain words what went wrong; the library's own text may hold the password of a proxy."""
    from requests import exceptions as failed
    from urllib3.exceptions import NewConnectionError, ReadTimeoutError

    if isinstance(error, failed.HTTPError) and error.response is not None:
        status = error.response.status_code
        return _SourceError(f"HTTP {status}", again=status in (408, 429) or status >= 500)
    first = error.args[0] if error.args else None
    chain = (error, first, getattr(first, "reason", None))
    # The first row that fits counts. The last two columns: another try may help, the host is of no use.
    for kinds, cause, again, host in (
        (failed.TooManyRedirects, "redirects in a circle", False, False),
        (failed.SSLError, "no secure connection: is the certificate valid, is the clock right?", False, True),
        (failed.ProxyError, "no connection through the proxy", False, True),
        (failed.ConnectTimeout, f"no connection in {CONNECT_TIMEOUT:g} s", False, True),
        ((failed.Timeout, ReadTimeoutError), f"nothing came for {READ_TIMEOUT:g} s", True, True),
        (NewConnectionError, "no connection: unknown host, refused, or no network", False, True),
        ((failed.ConnectionError, failed.ChunkedEncodingError), "the connection was cut", True, False),
    ):
        if any(isinstance(link, kinds) for link in chain):
            return _SourceError(cause, again=again, host=host)
    return _SourceError(f"an answer without sense ({type(error).__name__})")
