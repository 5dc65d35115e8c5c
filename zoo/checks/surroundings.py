"""Surroundings: a process without a network, with folders listed in another order, or with other seeds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def refuse_network(attempts: list[str]) -> Iterator[None]:
    """Refuse every connection that this process tries to make, and note it in `attempts`."""

    def refuse(*arguments: Any, **_: Any) -> Any:
        target = next((item for item in arguments if not isinstance(item, socket.socket)), "the network")
        attempts.append(str(target[0] if isinstance(target, tuple) else target))
        raise OSError("the network is not to be used here")

    connect = socket.socket.connect

    def connect_inside(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):  # a text is a socket of this very machine, between processes
            refuse(address)
        connect(self, address)

    names = ("getaddrinfo", "gethostbyname", "create_connection")
    kept = {name: getattr(socket, name) for name in names}
    for name in names:
        setattr(socket, name, refuse)
    socket.socket.connect = connect_inside  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(socket, name, function)
        socket.socket.connect = connect  # type: ignore[method-assign]


@contextmanager
def reverse_listings() -> Iterator[None]:
    """List every folder backwards: no file system promises an order."""
    listdir, scandir = os.listdir, os.scandir

    def reversed_listdir(*arguments: Any) -> list[Any]:
        return listdir(*arguments)[::-1]

    class ReversedScan:
        def __init__(self, *arguments: Any) -> None:
            with scandir(*arguments) as entries:
                self.entries = iter(list(entries)[::-1])

        def __iter__(self) -> Iterator[Any]:
            return self.entries

        def __next__(self) -> Any:
            return next(self.entries)

        def __enter__(self) -> ReversedScan:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            self.entries = iter(())

    os.listdir, os.scandir = reversed_listdir, ReversedScan  # type: ignore[assignment]
    try:
        yield
    finally:
        os.listdir, os.scandir = listdir, scandir
