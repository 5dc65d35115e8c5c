"""The subject of the checks of an entry that a factory builds: a model, a data set or a metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from zoo.checks.source import find_definition
from zoo.registry.entries import Entry
from zoo.registry.factories import load_factory
from zoo.registry.specs import DatasetSpec, MetricSpec, ModelSpec

BuiltSpec = TypeVar("BuiltSpec", ModelSpec, DatasetSpec, MetricSpec)


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
        return find_definition(load_factory(self.entry))
