"""Files of weights as torch.hub keeps them: their names end in the first digits of their SHA-256."""

from __future__ import annotations

import hashlib
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from torch import hub

from zoo import DownloadError, WeightsError

NOT_TENSORS = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError)
"""What torch raises for a file that is no state dict, or for one that would run code."""
FETCH_ERRORS = (URLError, TimeoutError, ConnectionError, HTTPException, RuntimeError)
"""What torch.hub raises where a server gives nothing, or another file than the one expected."""
TIMEOUT = 30.0
"""Seconds that a server may say nothing; torch.hub itself would wait for ever."""


def fetch(url: str, *, offline: bool) -> tuple[Path, str]:
    """Return the file of an address in torch.hub's folder, where it is fetched to when it is missing, and its SHA-256.

    Raises:
        DownloadError: it cannot be fetched, what came is another file, or `offline` and it is not there.
        WeightsError: another file is there.
    """
    path = Path(hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    found = hub.HASH_REGEX.search(path.name)
    start = found[1] if found else ""
    by_hand = f"save {url} as {path} yourself"
    if not path.is_file():
        if offline:
            what = f"no file {path}"
            raise DownloadError(what, "offline, and nothing fetched it before", f"Run with offline=False, or {by_hand}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _limit_silence():
                hub.download_url_to_file(url, str(path), start or None, progress=False)
        except FETCH_ERRORS as error:
            raise DownloadError(f"cannot fetch {url}", str(error), f"Try again, or {by_hand}") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(start):
        why = f"expected a SHA-256 that begins with {start}, got {digest}"
        raise WeightsError(f"{path} is not the file of {url}", why, "Delete it to have it fetched again")
    return path, digest


@contextmanager
def _limit_silence() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
