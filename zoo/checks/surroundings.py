"""Surroundings: a process without a network, with folders listed in another order, or with other seeds."""

from __future__ import annotations

import os
import pickle
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from zoo.checks.base import Fault
from zoo.checks.settings import find_setter, read_settings, restore_settings, watch_settings
from zoo.errors import ZooError
from zoo.models.device import use_seed
from zoo.registry.entries import Entry
from zoo.registry.factories import load_factory
from zoo.registry.params import resolve_params


@contextmanager
def keep_settings() -> Iterator[None]:
    """Put settings back that the body changes; one check says so, all others go on as before."""
    before = read_settings()
    try:
        yield
    finally:
        restore_settings(before)


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


def check_use(use: Callable[[], object], definition: str, fix: str) -> None:
    """Check that building and using something changes no setting and seeds nothing; it is run twice.

    Raises:
        Fault: names the settings or generators and the line, else the line of the definition; `fix` is for seeds.
    """
    try:
        with watch_settings(definition):
            seeded = find_seeded(use)
    except Fault as fault:
        raise Fault(fault.seen, fault.fix, find_setter(use) or definition) from fault
    if seeded:
        raise Fault(f"it seeds {', '.join(seeded)} for the whole process", fix, find_setter(use) or definition)


def check_unknown_param(entry: Entry[Any], build: Callable[[dict[str, Any]], object], where: str) -> None:
    """Check that a param nobody knows is refused; `build` builds with the params it is given.

    Raises:
        Fault: it was taken.
    """
    try:
        build(resolve_params(entry.spec, load_factory(entry), {"zoo_no_such_param": 1}))
    except ZooError:
        return
    fix = "Name the params in the signature instead of **params, or raise ValueError for those you do not know"
    raise Fault("a param called zoo_no_such_param was taken without a word", fix, where)


def find_seeded(action: Callable[[], object]) -> list[str]:
    """Return the global generators that an action seeds: after it, two states that were different are the same."""
    states = []
    for seed in (4, 5):
        with use_seed(seed):
            action()
            states.append(
                {
                    "torch": torch.get_rng_state().numpy().tobytes(),
                    "numpy": pickle.dumps(numpy.random.get_state()),
                    "random": random.getstate(),
                }
            )
    return [name for name, state in states[0].items() if state == states[1][name]]
