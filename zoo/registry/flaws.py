"""Flaws: an entry of a plugin with a mistake is left out and told, and the entries beside it work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from zoo.errors import quote, shorten, show, suggest

S = TypeVar("S")

_keeps_flawed = ContextVar("keeps_flawed", default=False)


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one entry of a plugin, which is left out for it; `name` is as it was given, in words."""

    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {quote(self.name)} is left out: {self.why}"


@contextmanager
def keep_flawed() -> Iterator[None]:
    """Let specs of the body that cannot be made be objects with a `flaw`: its code goes on to the next one.

    Plugins are imported and asked in here. Anywhere else a spec raises what is wrong with it.
    """
    token = _keeps_flawed.set(True)
    try:
        yield
    finally:
        _keeps_flawed.reset(token)


def may_be_flawed(spec_class: type[S]) -> type[S]:
    """Let `keep_flawed` keep objects of a class; its generated `__init__` raises for unknown and missing fields too."""
    make: Callable[..., None] = vars(spec_class)["__init__"]
    known = vars(spec_class)["__dataclass_fields__"]

    @wraps(make)
    def init(self: S, *args: Any, **given: Any) -> None:
        try:
            make(self, *args, **given)
        except (TypeError, ValueError) as error:
            if not _keeps_flawed.get():
                raise
            why = str(error)
            for key in sorted(given.keys() - known.keys()):
                why = f"{shorten(key)}: unknown field. {suggest(key, known, 'Known: ' + ', '.join(known))}"
            name = given.get("name", "")
            object.__setattr__(self, "name", name if isinstance(name, str) else show(name))
            object.__setattr__(self, "flaw", why)

    setattr(spec_class, "__init__", init)  # noqa: B010 a type checker keeps the signature of the dataclass
    return spec_class
