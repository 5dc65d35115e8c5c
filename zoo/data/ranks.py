"""Ranks: the processes that train one model together, and which part of each batch is whose."""

from __future__ import annotations

from dataclasses import dataclass


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

    @classmethod
    def alone(cls) -> Ranks:
        """Return what a process is that trains by itself."""
        return cls()

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.index == 0

    def part(self, size: int) -> slice:
        """Return which of `size` samples, or of anything that lies in a row, are those of this rank.

        The parts follow one another, leave nothing out, and differ in length by one at most; of fewer samples than
        there are ranks some are empty. For one rank it is the whole.
        """
        return slice(-(-size * self.index // self.count), -(-size * (self.index + 1) // self.count))
