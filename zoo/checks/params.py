"""The check that a factory knows its params by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.checks.base import Fault
from zoo.checks.subject import EntrySubject
from zoo.errors import ZooError
from zoo.registry.factories import load_factory
from zoo.registry.params import resolve_params


def check_params(subject: EntrySubject[Any]) -> str:
    """Params are known by name.

    A param that is misspelt must be refused; a factory with `**params` that ignores what it does not know gives
    something else than was asked for, and says nothing.
    """
    try:
        params = resolve_params(subject.entry.spec, load_factory(subject.entry), {"zoo_no_such_param": 1})
        replace(subject, params=params).build()
    except ZooError:
        return f"{len(subject.params)} params, unknown ones are refused"
    fix = "Name the params in the signature instead of **params, or raise ValueError for those you do not know"
    raise Fault("a param called zoo_no_such_param was taken without a word", fix, subject.definition)
