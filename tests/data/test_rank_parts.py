"""The ranks: what a process is told of them, and their parts: nothing is left out or taken twice, and none is longer
than it must be."""

from __future__ import annotations

import pytest

from zoo.data.ranks import ALONE, VARIABLES, Ranks, find_ranks
from zoo.errors import UsageError


def test_the_parts_of_all_ranks_are_the_whole():
    for count in range(1, 9):
        for size in range(40):
            whole = list(range(size))
            parts = [whole[Ranks(index=index, count=count).part(size)] for index in range(count)]
            assert [each for part in parts for each in part] == whole
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert ALONE.part(7) == slice(0, 7)
    assert [Ranks(index=index, count=3).part(1) for index in range(3)] == [slice(0, 1), slice(1, 1), slice(1, 1)]


def test_a_process_is_what_the_variables_say():
    names = [*VARIABLES.values()]
    assert find_ranks({"WORLD_SIZE": "2"}) == find_ranks({"LOCAL_RANK": "1"}) == ALONE
    told = dict(zip(names, ("3", "4", "1", "2"), strict=True))
    assert find_ranks(told) == Ranks(index=3, count=4, local=1, local_count=2)
    # Others than torchrun need not say which of this machine it is, nor how many are there.
    assert find_ranks({"RANK": "1", "WORLD_SIZE": "2"}) == Ranks(index=1, count=2)
    assert find_ranks({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}).local == 1
    assert find_ranks({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}).local_count == 2


@pytest.mark.parametrize(
    "values", [("2", "2", "0", "1"), ("-1", "2", "0", "1"), ("0", "x", "0", "1"), ("0", "2", "2", "2")]
)
def test_variables_that_make_no_sense_are_shown(values):
    with pytest.raises(UsageError, match=f"RANK={values[0]}, WORLD_SIZE={values[1]}, LOCAL_RANK={values[2]}, "):
        find_ranks(dict(zip(VARIABLES.values(), values, strict=True)))
