"""The data set that is checked, built and read once for all its checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.checks.dataset.reading import Samples
from zoo.checks.source import find_definition
from zoo.checks.surroundings import keep_settings
from zoo.data.loading import build_dataset
from zoo.data.splits import DataSplits, Split
from zoo.models.device import use_seed
from zoo.registry.entries import Entry
from zoo.registry.factories import load_factory
from zoo.registry.specs import DatasetSpec


@dataclass
class DatasetSubject:
    """A data set to check: its entry and the folder of its files."""

    entry: Entry[DatasetSpec]
    root: Path
    offline: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    splits: DataSplits | None = None
    read: dict[str, Samples] = field(default_factory=dict)
    steady: bool = False  # whether its samples are the same when they are read again

    def build(self, seed: int = 0) -> DataSplits:
        """Build the data set; settings that it changes are put back, and are the matter of one check."""
        with use_seed(seed), keep_settings():
            return build_dataset(self.entry, root=self.root, params=self.params)

    @property
    def loaded(self) -> DataSplits:
        """The splits, built once."""
        if self.splits is None:
            self.splits = self.build()
        return self.splits

    @property
    def definition(self) -> str:
        """`file:line` of the factory."""
        return find_definition(load_factory(self.entry))

    def locate(self, split: Split) -> str:
        """`file:line` of a split's class, or of the factory."""
        return (not isinstance(split, tuple) and find_definition(type(split))) or self.definition
