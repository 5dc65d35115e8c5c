"""The data set that is checked, built and read once for all its checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from zoo.checks.dataset.reading import Samples
from zoo.checks.settings import keep_settings
from zoo.checks.source import find_definition
from zoo.checks.subject import EntrySubject
from zoo.data.loading import build_dataset
from zoo.data.splits import DataSplits, Split
from zoo.models.device import use_seed
from zoo.registry.specs import DatasetSpec


@dataclass(kw_only=True)
class DatasetSubject(EntrySubject[DatasetSpec]):
    """A data set to check, and the folder of its files."""

    root: Path
    offline: bool = False
    read: dict[str, Samples] = field(default_factory=dict)
    """What was read of each split."""
    steady: bool = False
    """Whether its samples are the same when they are read again; check_same finds out."""

    def build(self, seed: int = 0) -> DataSplits:
        """Build the data set; settings of the process stay as they are."""
        with use_seed(seed), keep_settings():
            return build_dataset(self.entry, root=self.root, params=self.params)

    @cached_property
    def splits(self) -> DataSplits:
        """The splits, built once."""
        return self.build()

    def locate(self, split: Split) -> str:
        """Return `file:line` of a split's class, or of the factory."""
        return (not isinstance(split, tuple) and find_definition(type(split))) or self.definition
