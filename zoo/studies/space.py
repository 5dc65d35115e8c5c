"""Space: what a sweep varies, each as a list of values or as a range of numbers, and the points that are tried."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.errors import SettingError, UsageError, suggest
from zoo.registry.settings import list_settings, name_option
from zoo.training.plan import Wanted

Point = Mapping[str, Any]
"""A value for each name that is varied."""

FORM = re.compile(r"(?P<log>log:)?(?P<low>[^.:]\S*?)\.\.(?P<high>[^.:]\S*?)(?::(?P<steps>\d{1,6}))?")
AS_IN = "As in: log:1e-4..1e-1, 8..64, 0..0.9:4 for four values, or sgd,adamw"
TABLES = {"param": "params", "dataset_param": "dataset_params"}
"""Tables of a run whose values can be varied, by what stands before the dot."""
FIXED = {
    "dataset": "scores on different data cannot be compared; zoo.matrix has a column for each",
    "validation": "scores on different validation splits cannot be compared",
    "split_seed": "scores on different validation splits cannot be compared",
    "processes": "each trial is one process, and jobs says how many there are at a time",
    "monitor": "a sweep has one score to choose by",
}
"""What cannot be varied, and why."""
DIGITS = 4
"""Significant digits of a number that is drawn from a range: enough for any setting, and few enough to be read."""

MOST_MISSED = 10_000
"""Points drawn in a row that were drawn before: then a narrow range has no more, with so many digits."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One thing that is varied: `values` to choose from, or without any the numbers from `low` to `high`.

    `log` says that they are drawn evenly over their logarithms, `whole` that they are whole numbers.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that are right where all are: each of a list, the ends of a range."""
        return self.values or (self.low, self.high)

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self.values) or (self.high - self.low + 1 if self.whole else math.inf)

    def draw(self, generator: random.Random) -> Any:
        """Return a value."""
        if self.values:
            return self.values[generator.randrange(len(self.values))]
        return self.place(generator.random())

    def place(self, share: float) -> float:
        """Return the number that lies so far from the lower end of a range, as a share of its length."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + share * (high - low)
        return self.fit(math.exp(value) if self.log else value)

    def fit(self, value: float) -> float:
        """Return a number of a range with few digits."""
        return round(value) if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def read_axes(vary: Mapping[str, str | Sequence[Any]]) -> list[Axis]:
    """Return what is varied, in the order in which it was given.

    Raises:
        SettingError, UsageError: there is no such thing, it cannot be varied, or the text means no values.
    """
    if not vary:
        raise UsageError("a sweep varies nothing", fix="Say what, vary={'lr': 'log:1e-4..1e-1'} say")
    return [_read_axis(*_read_name(name), spec) for name, spec in vary.items()]


def _read_name(name: str) -> tuple[str, str]:
    """Return the name of what is varied as a point has it, and what a message calls it."""
    first, dot, rest = name.partition(".")
    first = first.strip().replace("-", "_")
    tables = {name_option(setting)[2:].replace("-", "_"): setting for setting in list_settings()}
    known = [*list_settings(), "model", *(f"{table}.NAME" for table in TABLES)]
    if first in FIXED:
        raise SettingError("vary", f"{first} cannot be varied: {FIXED[first]}")
    if dot and rest and (first in TABLES or f"{tables.get(first)}" in ("optimizer_params", "loss_params")):
        return f"{first}.{rest}", name
    if dot or first not in {*list_settings(), "model"} or first in ("optimizer_params", "loss_params"):
        raise SettingError("vary", "no setting of a run is called so", name, suggest(name, known, AS_IN))
    return first, name


def _read_axis(name: str, told: str, spec: str | Sequence[Any]) -> Axis:
    if not isinstance(spec, str):
        return Axis(name=name, values=_check_values(told, tuple(spec)))
    if match := FORM.fullmatch(spec.strip()):
        return _read_range(name, told, spec, match)
    # A value may have commas itself, operations of augmentation say: then there are bars between the values.
    parts = spec.split("|" if "|" in spec else ",")
    return Axis(name=name, values=_check_values(told, tuple(part.strip() for part in parts)))


def _check_values(told: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if not values or any(value in ("", None) for value in values):
        raise SettingError("vary", f"{told} has a value that is empty", fix=AS_IN)
    if twice:
        raise SettingError("vary", f"{told} has a value twice", twice[0])
    return values


def _read_range(name: str, told: str, spec: str, match: re.Match[str]) -> Axis:
    whole = all(re.fullmatch(r"[+-]?\d+", match[end]) for end in ("low", "high"))
    try:
        low, high = (int(match[end]) if whole else float(match[end]) for end in ("low", "high"))
    except ValueError:
        raise SettingError("vary", f"{told}: the ends of a range are numbers", spec, AS_IN) from None
    log, steps = bool(match["log"]), match["steps"]
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError("vary", f"{told}: a range goes from a lower number to a higher one", spec, AS_IN)
    if log and low <= 0:
        raise SettingError("vary", f"{told}: a range of logarithms begins above 0", spec, AS_IN)
    axis = Axis(name=name, low=low, high=high, log=log, whole=whole)
    if steps is None:
        return axis
    if int(steps) < 2:
        raise SettingError("vary", f"{told}: a range has at least two steps", spec, AS_IN)
    values = [axis.place(step / (int(steps) - 1)) for step in range(int(steps))]
    return Axis(name=name, values=tuple(dict.fromkeys(values)), log=log)


def settle(axis: Axis, kinds: Sequence[type]) -> Axis:
    """Return an axis whose range has numbers of the kind that a run made of its ends: 1..10 of a rate are no counts."""
    if axis.values or not axis.whole or int in kinds:
        return axis
    return replace(axis, whole=False, low=float(axis.low), high=float(axis.high))


def list_grid(axes: Sequence[Axis]) -> list[Point]:
    """Return every combination; what was given last changes first. Raise UsageError for a range without steps."""
    for axis in axes:
        if not axis.values:
            text = f"{'log:' if axis.log else ''}{axis.low:g}..{axis.high:g}"
            fix = f"Say how many of them, {text}:4 for four, or sampler='random'"
            raise UsageError("a grid has values, and no ranges", f"{axis.name} is {text}", fix)
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def draw_points(axes: Sequence[Axis], seed: int) -> Iterator[Point]:
    """Yield points drawn at random, each once; the same ones for the same seed, however many are taken."""
    seen, names, missed = set[tuple[Any, ...]](), [axis.name for axis in axes], 0
    total = math.prod(axis.count for axis in axes)
    for number in itertools.count():
        if len(seen) >= total or missed > MOST_MISSED:
            return
        generator = random.Random(f"{seed}/{number}")
        values = tuple(axis.draw(generator) for axis in axes)
        missed += 1
        if values not in seen:
            seen.add(values)
            missed = 0
            yield dict(zip(names, values, strict=True))


def apply(wanted: Wanted, point: Point) -> Wanted:
    """Return what is wanted with the values of a point in the place of its own."""
    tables: dict[str, dict[str, Any]] = {}
    settings = dict(wanted.settings)
    for name, value in point.items():
        first, dot, rest = name.partition(".")
        if not dot and first in ("model", "dataset"):
            wanted = replace(wanted, model=value) if first == "model" else replace(wanted, dataset=value)
        elif not dot:
            settings[first] = value
        elif first in TABLES:
            tables.setdefault(TABLES[first], {})[rest] = value
        else:
            table = f"{first}s"
            settings[table] = {**(settings.get(table) or {}), rest: value}
    changed: dict[str, Any] = {table: {**(getattr(wanted, table) or {}), **values} for table, values in tables.items()}
    return replace(wanted, settings=settings, **changed)


def describe_point(point: Point) -> str:
    """Return a point on one line, `lr=0.01 optimizer=sgd`."""
    return " ".join(f"{name}={show_value(value)}" for name, value in point.items())


def show_value(value: Any) -> str:
    """Return a value as a table has it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
