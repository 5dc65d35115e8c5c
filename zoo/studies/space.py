"""Space: what a sweep varies, each as a list of values or as a range of numbers, and what one point of it means."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from zoo.errors import SettingError, UsageError, suggest
from zoo.registry.settings import list_settings
from zoo.training.plan import Plan, Wanted

Point = Mapping[str, Any]
"""A value for each name that is varied."""

FORM = re.compile(r"(?P<log>log:)?(?P<low>[^.:]\S*?)\.\.(?P<high>[^.:]\S*?)(?::(?P<steps>\d{1,6}))?")
AS_IN = "As in: log:1e-4..1e-1, 8..64, 0..0.9:4 for four values, or sgd,adamw"
NAMES = "Name model, a setting of zoo run, or param.NAME, dataset_param.NAME, optimizer_param.NAME or loss_param.NAME"
TABLES = {"param": "params", "dataset_param": "dataset_params"}
"""Tables of a run whose values can be varied, by what stands before the dot."""
OF_SETTINGS = {"optimizer_param": "optimizer_params", "loss_param": "loss_params"}
"""Settings of a run that are tables, likewise."""
FIXED = {
    "dataset": "scores on different data cannot be compared; zoo.matrix has a column for each",
    "validation": "scores on different validation splits cannot be compared",
    "split_seed": "scores on different validation splits cannot be compared",
    "monitor": "a sweep has one score to choose by",
    **dict.fromkeys(("device", "threads", "workers"), "where a trial runs moves the last digits of scores at most"),
    **dict.fromkeys(("processes", "sync_batchnorm"), "each trial is one process; jobs says how many train at a time"),
}
"""What cannot be varied, and why."""
DIGITS = 4
"""Significant digits of a number that is drawn from a range: enough for any setting, and few enough to be read."""
MOST_TRIALS = 10_000
"""Trials of a sweep, and values of one thing that is varied."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One thing that is varied: `values` to choose from, or without any the numbers from `low` to `high`.

    `log` says that they are drawn evenly over their logarithms, `whole` that they are whole numbers. With `steps` so
    many of them are meant, which become values by `settle`.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    steps: int = 0

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that are right where all are: each of a list, the ends of a range."""
        return self.values or (self.low, self.high)

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self.values) or (self.high - self.low + 1 if self.whole else math.inf)

    @property
    def scale(self) -> Literal["places", "linear", "log"]:
        """How its values lie in a picture."""
        return "log" if self.log else "places" if self.values else "linear"

    def __str__(self) -> str:
        """Return the values as they can be asked for; all digits of a number, so that no two are taken for the same."""
        low, high = _spell(self.low), _spell(self.high)
        return ", ".join(map(_spell, self.values)) or f"{'log:' if self.log else ''}{low}..{high}"

    def settle(self, made: Sequence[Any]) -> Axis:
        """Return an axis with values as a run takes them; `made` is what it makes of each of `examples`.

        1..10 of a rate are no counts.

        Raises:
            SettingError: a value is there twice.
        """
        if self.values:
            if twice := [value for index, value in enumerate(made) if value in made[:index]]:
                raise SettingError("vary", f"{self.name} has a value twice", twice[0])
            return replace(self, values=tuple(made))
        if self.whole and any(type(value) is float for value in made):
            return replace(self, whole=False, low=float(self.low), high=float(self.high)).settle(made)
        values = [self.place(step / (self.steps - 1)) for step in range(self.steps)]
        return replace(self, values=tuple(dict.fromkeys(values)), steps=0)

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
    axes = [_read_axis(*_read_name(name), spec) for name, spec in vary.items()]
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"vary: {name} is varied twice", fix="Give all of its values at once")
    return axes


def _read_name(name: str) -> tuple[str, str]:
    """Return the name of what is varied as a point has it, and what a message calls it."""
    first, dot, rest = name.partition(".")
    first = first.strip().replace("-", "_")
    known = [*list_settings(), "model", *(f"{table}.{rest or 'NAME'}" for table in (*TABLES, *OF_SETTINGS))]
    if first in FIXED:
        raise UsageError(f"vary: {first} cannot be varied", FIXED[first])
    if dot and rest and first in (*TABLES, *OF_SETTINGS):
        return f"{first}.{rest}", name
    if dot or first not in {*list_settings(), "model"} or first in OF_SETTINGS.values():
        raise SettingError("vary", "no setting of a run is called so", name, suggest(name, known, NAMES))
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
    if not values or any(value is None or value == "" for value in values):
        raise UsageError(f"vary: {told} has a value that is empty", fix=AS_IN)
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
    if steps and not 2 <= int(steps) <= MOST_TRIALS:
        raise SettingError("vary", f"{told}: a range has from 2 to {MOST_TRIALS:,} steps", spec, AS_IN)
    return Axis(name=name, low=low, high=high, log=log, whole=whole, steps=int(steps or 0))


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
            table = OF_SETTINGS[first]
            settings[table] = {**(settings.get(table) or {}), rest: value}
    changed: dict[str, Any] = {table: {**(getattr(wanted, table) or {}), **values} for table, values in tables.items()}
    return replace(wanted, settings=settings, **changed)


def look_up(plan: Plan, name: str) -> Any:
    """Return the value that a training has of a thing that is varied, None where it has none."""
    first, _, rest = name.partition(".")
    if first == "model":
        return plan.model.short_name
    if not rest:
        return getattr(plan.config, first)
    table = getattr(plan, TABLES[first]) if first in TABLES else getattr(plan.config, OF_SETTINGS[first])
    return (table or {}).get(rest)


def describe_point(point: Point) -> str:
    """Return a point on one line, `lr=0.01 optimizer=sgd`."""
    return " ".join(f"{name}={show_value(value)}" for name, value in point.items())


def show_value(value: Any) -> str:
    """Return a value as a table has it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _spell(value: Any) -> str:
    """Return a value with all of its digits."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
