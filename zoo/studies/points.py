"""Points: which trials a sweep has, each checked as `zoo.run` checks what it is told, before any of them begins."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from zoo.errors import SettingError, UsageError, ZooError
from zoo.studies.space import MOST_TRIALS, Axis, Point, describe_point, look_up
from zoo.studies.study import Base, Problems

USUAL_TRIALS = 20
MOST_TRIED = 256
"""Combinations of the ends of ranges that are checked where the trials are not known before."""
MOST_MISSED = 10_000
"""Points drawn in a row that were drawn before: then a narrow range has no more, with so many digits."""


def settle_axes(base: Base, axes: Sequence[Axis]) -> list[Axis]:
    """Return axes with values as a run takes them: `"1e-1"` is 0.1, and 1..10 of a rate is no range of whole numbers.

    What a run refuses stays as it is: `check_points` tells it.

    Raises:
        UsageError: a value is there twice.
    """
    return [axis.settle([_read_value(base, axis.name, value) for value in axis.examples]) for axis in axes]


def _read_value(base: Base, name: str, value: Any) -> Any:
    """Return the number or the name that a run takes a value for; the value itself where that is not known."""
    with suppress(ZooError):
        made = look_up(base.ask({name: value}).plan, name)
        return made if isinstance(made, int | float | str) else value
    return value


def choose_points(axes: Sequence[Axis], sampler: str, trials: int | None, seed: int) -> list[Point]:
    """Return the trials of a sweep; where they will be suggested, points to check that reach the ends of all ranges.

    Raises:
        UsageError: a grid has a range without steps, more combinations than there may be, or a number of trials.
    """
    if sampler == "tpe":
        ends = [Axis(name=axis.name, values=axis.examples) for axis in axes]
        return list(itertools.islice(draw_points(ends, seed), MOST_TRIED))
    if sampler == "grid":
        if trials is not None:
            raise SettingError("trials", "a grid tries every combination", trials, "Leave it out, or sampler='random'")
        return list_grid(axes)
    return list(itertools.islice(draw_points(axes, seed), trials or USUAL_TRIALS))


def list_grid(axes: Sequence[Axis]) -> list[Point]:
    """Return every combination; what was given last changes first.

    Raises:
        UsageError: a range has no steps, or there are too many combinations.
    """
    for axis in axes:
        if not axis.values:
            fix = f"Say how many of them, {axis}:4 for four, or sampler='random'"
            raise UsageError("a grid has values, and no ranges", f"{axis.name} is {axis}", fix)
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_TRIALS:
        fix = "Vary less, or draw some of them: trials=50, sampler='random'"
        raise UsageError(f"a grid of {count:,} trials", f"a sweep has at most {MOST_TRIALS:,}", fix)
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def draw_points(axes: Sequence[Axis], seed: int) -> Iterator[Point]:
    """Yield points drawn at random, each once; the same ones for the same seed, however many are taken."""
    seen, names, missed = set[str](), [axis.name for axis in axes], 0
    total = math.prod(axis.count for axis in axes)
    for number in itertools.count():
        if len(seen) >= total or missed > MOST_MISSED:
            return
        generator = random.Random(f"{seed}/{number}")
        values = [axis.draw(generator) for axis in axes]
        missed += 1
        if (text := repr(values)) not in seen:
            seen.add(text)
            missed = 0
            yield dict(zip(names, values, strict=True))


def check_points(base: Base, points: Sequence[Point]) -> None:
    """Check each trial as `zoo.run` would before it loads anything; raise every problem at once, each with a trial."""
    problems = Problems()
    for point in points:
        with problems.catch(f"trial {describe_point(point)}"):
            if not (epochs := base.ask(point).plan.config.epochs):
                raise SettingError("epochs", "must be at least 1: a trial is scored after its epochs", epochs)
    problems.raise_any()
