"""Ranks: the processes that train one model together, and which part of each batch is whose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import UsageError

VARIABLES = {"index": "RANK", "count": "WORLD_SIZE", "local": "LOCAL_RANK", "local_count": "LOCAL_WORLD_SIZE"}
"""The variables by which torchrun tells a process what it is. Who starts the processes otherwise need not set the last
two."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which one this process is of those that train together.

    Fields:
        index: Its number among all of them, from 0 on. Number 0 writes the run, and speaks for all.
        count: How many there are, on all machines.
        local: Its number among those on this machine.
        local_count: How many there are on this machine.
    """

    index: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.index == 0

    def vary(self, seed: int) -> int:
        """Return a seed for what each rank draws for itself; the first one has the seed as it is."""
        return (seed + self.index * 0x9E3779B97F4A7C15) % 2**63

    def part(self, size: int) -> slice:
        """Return which of `size` samples, or of anything that lies in a row, are those of this rank.

        The parts follow one another, leave nothing out, and differ in length by one at most; of fewer samples than
        there are ranks some are empty. For one rank it is the whole.
        """
        return slice(-(-size * self.index // self.count), -(-size * (self.index + 1) // self.count))


ALONE = Ranks()
"""What a process is that trains by itself."""


def find_ranks(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Return what this process is by the variables that torchrun sets; by itself where there are none.

    Raises:
        UsageError: they are no numbers, or do not go together.
    """
    told = {field: environment[name] for field, name in VARIABLES.items() if name in environment}
    if not {"index", "count"} <= told.keys():
        return ALONE
    if all(text.isascii() and text.isdigit() for text in told.values()):
        ranks = Ranks(**{field: int(text) for field, text in told.items()})
        if ranks.index < ranks.count and ("local_count" not in told or ranks.local < ranks.local_count):
            return ranks
    shown = ", ".join(f"{VARIABLES[field]}={text}" for field, text in told.items())
    raise UsageError(f"the variables of torchrun make no sense: {shown}", fix="Use torchrun, or unset them")
