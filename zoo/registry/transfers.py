"""Transfers: one question to one address, and the bytes of the answer, appended to a part file.

What is there already is asked for no more: the question names the range that is missing, and the version of the file it
belongs to. Servers answer that as they like, so nothing here is believed: the checksum of the whole decides.
"""

from __future__ import annotations

import re
import shutil
import socket
import time
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from zoo.registry.pace import TooSlow, keep_pace
from zoo.registry.parts import Part
from zoo.registry.specs import FileSpec
from zoo.registry.verification import NAMES

# In seconds. A server may pause for READ_TIMEOUT at most; the whole download may take as long as it needs at the pace
# that zoo.registry.pace asks for.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
CHUNK = 1 << 13
"""Bytes. The pace of a download is counted by chunks, so several have to fit into its window at the lowest rate."""
BUSY = (429, 503)
"""Status codes of a server that may say when to ask again."""


class SourceError(Exception):
    """A source gave no file.

    `again`: another try may help, after `pause` seconds where the server says so. `host`: no other file of its host can
    be had either. `apart`: what came in several pieces does not fit together, so that one piece may be right.
    """

    def __init__(
        self, cause: str, *, again: bool = False, host: bool = False, apart: bool = False, pause: float = 0.0
    ) -> None:
        super().__init__(cause)
        self.again, self.host, self.apart, self.pause = again, host, apart, pause


def name_host(url: str) -> str:
    """Return the host and port of an address, without the name and password that may stand before them."""
    return urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")[2]


def download(url: str, file: FileSpec, part: Part, *, ranges: bool) -> None:
    """Ask once for what a part lacks, or without `ranges` for all, until it is the whole file.

    Raises:
        SourceError: it is not: what came of the right kind is in the part, what cannot be right is not.
        StorageError: the disk refuses.
    """
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    if part.size and not ranges:
        part.restart()
    if part.size and part.size == (file.size or part.size) and part.hash(file.algorithm) == file.digest:
        return
    if part.size and file.size is not None and part.size >= file.size:
        part.restart()
    with closing(_Transfer(url, file, part)) as transfer:
        try:
            keep_pace(transfer.run, lambda: transfer.moved, grace=CONNECT_TIMEOUT + READ_TIMEOUT)
        except TooSlow as error:
            raise SourceError(str(error), host=True) from error
        except (RequestException, HTTPError, ValueError) as error:
            raise _explain(error, url) from error
    transfer.check_whole()


class _Transfer:
    """The answer to one question; requests passes each response before it follows a redirect."""

    def __init__(self, url: str, file: FileSpec, part: Part) -> None:
        self.url, self.file, self.part = url, file, part
        self.start, self.moved = part.size, 0
        # Of a file of unknown size, as much is taken as leaves the disk room for as much again.
        room = shutil.disk_usage(part.target.parent).free // 2
        self.most = part.size + room if file.size is None else file.size
        self.response: Any = None
        self.closed = False

    def run(self) -> None:
        """Ask, and append the answer."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        if self.start:
            headers["Range"] = f"bytes={self.start}-"
            if self.part.validator:
                headers["If-Range"] = self.part.validator
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        hooks = {"response": self._check_response}
        response = requests.get(self.url, headers=headers, stream=True, timeout=timeout, hooks=hooks)
        if self.closed:
            response.close()
            return
        if self.start and response.status_code == 416:
            raise SourceError(f"has no byte {self.start}", apart=True)
        if response.status_code in BUSY:
            raise SourceError(f"HTTP {response.status_code}", again=True, pause=_read_pause(response))
        response.raise_for_status()
        self._begin(response)
        for chunk in response.iter_content(CHUNK):
            self._take(chunk)

    def _begin(self, response: Any) -> None:
        """Find out whether an answer goes on from the part, and make room for the whole where it does not."""
        tag = response.headers.get("ETag", "")
        if response.status_code == 206:
            total = r"(\d+|\*)" if self.file.size is None else rf"({self.file.size}|\*)"
            given = response.headers.get("Content-Range", "")
            if not re.fullmatch(rf"bytes {self.start}-\d+/{total}", given.strip()):
                raise SourceError("sent another part than was asked for", apart=True)
        elif self.start:
            # It sends no ranges, or has another version now. What says its size wrongly may be the page of a login, for
            # which nobody gives away what is here.
            length = response.headers.get("Content-Length")
            self.part.restart(keep=self.file.size is not None and length != str(self.file.size))
        # A weak tag does not promise the same bytes.
        self.part.begin_piece(tag if tag.startswith('"') else response.headers.get("Last-Modified", ""))

    def _take(self, chunk: bytes) -> None:
        """Append the next bytes; raise SourceError when there are more than declared, or than there is room for."""
        self.moved += len(chunk)
        self.part.append(chunk)
        if self.part.size > self.most:
            limit = "there is room for" if self.file.size is None else "expected"
            raise self._wrong(f"sent more than the {self.most} bytes {limit}")

    def check_whole(self) -> None:
        """Raise SourceError when the bytes are not those declared."""
        part, file = self.part, self.file
        if file.size is not None and part.size < file.size:
            raise self._wrong(f"sent {part.size} of {file.size} bytes", again=True)
        if (got := part.hash(file.algorithm)) != file.digest:
            raise self._wrong(f"expected {NAMES[file.algorithm]} {file.digest}, got {got}")

    def _wrong(self, cause: str, again: bool = False) -> SourceError:
        """Return the error that says so; of what can never become the file nothing is kept."""
        part, apart = self.part, self.part.pieces > 1
        head = part.read_head().lower()
        if b"<!doctype html" in head or b"<html" in head:
            cause, again = f"{cause}; it looks like a web page (a login?)", False
        if not again:
            part.restart()
        return SourceError(cause, again=again, apart=apart and not again)

    def close(self) -> None:
        """End the connection, also one that another thread waits for: it would hold the response until it has read."""
        self.closed = True
        if self.response is not None:
            # The other thread may close it meanwhile, which libraries tell by errors of many kinds.
            with suppress(OSError, ValueError, AttributeError), closing(_borrow_socket(self.response)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            self.response.close()

    def _check_response(self, response: Any, **_: object) -> None:
        self.response = response
        # Some servers call the compression of a .gz file an encoding, and requests would undo it.
        response.raw.headers.pop("Content-Encoding", None)
        check_redirect(response)


def check_redirect(response: Any) -> None:
    """Refuse a redirect to anything but https; a server on this machine may also redirect to this machine."""
    if response.is_redirect:
        response.close()  # requests would read the body of a redirect to its end
        here, there = urlsplit(response.url), urlsplit(urljoin(response.url, response.headers["Location"]))
        local = here.scheme == there.scheme == "http" and there.hostname in ("127.0.0.1", "localhost")
        if there.scheme != "https" and not local:
            raise SourceError(f"refused a redirect to {there.scheme}://{there.hostname or ''}")


def _borrow_socket(response: Any) -> socket.socket:
    """Return another handle of the socket of a response; raise OSError or ValueError where it has none any more."""
    return socket.fromfd(response.raw.fileno(), socket.AF_INET, socket.SOCK_STREAM)


def _read_pause(response: Any) -> float:
    """Return the seconds that a busy server asks for, which it gives as a number or as a time of day."""
    asked = response.headers.get("Retry-After", "").strip()
    with suppress(ValueError, OverflowError):
        seconds = float(asked) if asked.isdecimal() else parsedate_to_datetime(asked).timestamp() - time.time()
        return max(0.0, seconds)
    return 0.0


def _explain(error: Exception, url: str) -> SourceError:
    """Say in plain words what went wrong; the library's own text may hold the password of a proxy."""
    from requests import exceptions as failed
    from urllib3.exceptions import NewConnectionError, ReadTimeoutError

    if isinstance(error, failed.HTTPError) and error.response is not None:
        status = error.response.status_code
        if status == 407:
            return SourceError(f"{_name_proxy(url)} wants a name and a password (HTTP 407)", host=True)
        return SourceError(f"HTTP {status}", again=status == 408 or status >= 500)
    proxy, today = _name_proxy(url), f"today is {time.strftime('%Y-%m-%d')}"
    # An address that makes no sense is that of the proxy, where there is one: the others were looked at.
    unclear = (failed.InvalidProxyURL, failed.InvalidSchema, *([] if proxy == "the proxy" else [failed.InvalidURL]))
    first = error.args[0] if error.args else None
    chain = (error, first, getattr(first, "reason", None))
    # The first row that fits counts. The last two columns: another try may help, the host is of no use.
    for kinds, cause, again, host in (
        (failed.TooManyRedirects, "redirects in a circle", False, False),
        (
            failed.SSLError,
            f"no secure connection: is the certificate valid, is the clock right? ({today})",
            False,
            True,
        ),
        (failed.ProxyError, f"no connection through {proxy}{_find_refusal(chain)}", False, True),
        (unclear, f"{proxy} cannot be used", False, True),
        (failed.ConnectTimeout, f"no connection in {CONNECT_TIMEOUT:g} s", False, True),
        ((failed.Timeout, ReadTimeoutError), f"nothing came for {READ_TIMEOUT:g} s", True, True),
        (NewConnectionError, "no connection: unknown host, refused, or no network", False, True),
        ((failed.ConnectionError, failed.ChunkedEncodingError), "the connection was cut", True, False),
    ):
        if any(isinstance(link, kinds) for link in chain):
            return SourceError(cause, again=again, host=host)
    return SourceError(f"an answer without sense ({type(error).__name__})")


def _name_proxy(url: str) -> str:
    """Return the proxy that the environment gives for an address, without its name and password."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    return f"the proxy {name_host(proxy)}" if proxy else "the proxy"


def _find_refusal(chain: tuple[object, ...]) -> str:
    """Return the status with which a proxy refused to make a connection, in words, where it answered."""
    found = re.search(r"Tunnel connection failed: (\d{3})", " ".join(map(repr, chain)))
    return f": it answers HTTP {found[1]}" if found else ": refused, or not there"
