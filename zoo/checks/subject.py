"""The subject of the checks of an entry that a factory builds, and the check that its factory knows params by name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from zoo.checks.base import Fault
from zoo.checks.source import find_definition
from zoo.errors import ZooError
from zoo.registry.entries import Entry
from zoo.registry.factories import import_factory, load_factory
from zoo.registry.params import resolve_params
from zoo.registry.specs import DatasetSpec, LossSpec, MetricSpec, ModelSpec

CLASSES = (10, 3, 2)
"""Numbers of classes that models and metrics are tried with."""

BuiltSpec = TypeVar("BuiltSpec", ModelSpec, DatasetSpec, MetricSpec, LossSpec)


@dataclass
class EntrySubject(Generic[BuiltSpec]):
    """An entry to check, and the params that it is built with."""

    entry: Entry[BuiltSpec]
    params: dict[str, Any] = field(default_factory=dict)

    def build(self) -> object:
        """Build what the entry describes; settings of the process stay as they are."""
        raise NotImplementedError

    @property
    def definition(self) -> str:
        """`file:line` of the factory."""
        return find_definition(import_factory(self.entry))


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
    raise Fault("a param called zoo_no_such_param was taken without a word", fix)
