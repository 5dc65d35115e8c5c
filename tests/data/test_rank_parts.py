"""The parts of the ranks: nothing is left out, nothing is taken twice, and none is longer than it must be."""

from __future__ import annotations

from zoo.data.ranks import ALONE, Ranks


def test_the_parts_of_all_ranks_are_the_whole():
    for count in range(1, 9):
        for size in range(40):
            whole = list(range(size))
            parts = [whole[Ranks(index=index, count=count).part(size)] for index in range(count)]
            assert [each for part in parts for each in part] == whole
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert ALONE.part(7) == slice(0, 7)
    assert [Ranks(index=index, count=3).part(1) for index in range(3)] == [slice(0, 1), slice(1, 1), slice(1, 1)]
