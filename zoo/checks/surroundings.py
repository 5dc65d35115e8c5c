"""Surroundings for a data set: a process without a network, or one that lists folders in another order."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def refuse_network(attempts: list[str]) -> Iterator[None]:
    """Refuse every connection that the body tries to make, and append its address to `attempts`."""

    def refuse(*arguments: Any, **_: Any) -> Any:
        target = next((item for item in arguments if not isinstance(item, socket.socket)), "the network")
        attempts.append(str(target[0] if isinstance(target, tuple) else target))
        raise OSError("the network is not to be used here")

    connect = socket.socket.connect

    def connect_inside(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):  # a text is the path of a socket between processes of this machine
            refuse(address)
        connect(self, address)

    refused = patch.multiple(socket, getaddrinfo=refuse, gethostbyname=refuse, create_connection=refuse)
    with refused, patch.object(socket.socket, "connect", connect_inside):
        yield


class _ReversedScan(AbstractContextManager[Any], Iterator[Any]):
    """What os.scandir gives, backwards."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self.entries = reversed(list(entries))

    def __next__(self) -> Any:
        return next(self.entries)

    def __exit__(self, *_: object) -> None:
        """Do nothing: the scan itself has ended."""

    close = __exit__


@contextmanager
def reverse_listings() -> Iterator[None]:
    """List every folder backwards in the body, because no file system promises an order."""
    listdir, scandir = os.listdir, os.scandir

    def reversed_listdir(*arguments: Any) -> list[Any]:
        return listdir(*arguments)[::-1]

    def reversed_scandir(*arguments: Any) -> _ReversedScan:
        with scandir(*arguments) as entries:
            return _ReversedScan(entries)

    with patch.multiple(os, listdir=reversed_listdir, scandir=reversed_scandir):
        yield
