"""Intervals: spans of a training, told in seconds, steps or epochs: `90s`, `10m`, `1.5h`, `500 steps`, `2 epochs`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from zoo.errors import SettingError

FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
SECONDS = {"": 1, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}


@dataclass(frozen=True)
class Interval:
    """A span of so many seconds, steps or epochs."""

    count: float
    unit: Literal["seconds", "steps", "epochs"] = "seconds"


def read_interval(setting: str, value: str | float, *, seconds_only: bool = False) -> Interval:
    """Return the interval that a number of seconds or a text means; raise SettingError for anything else."""
    expected = "must be a time, 90s, 10m or 1h say" + ("" if seconds_only else ", or 500 steps, or 2 epochs")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not (isfinite(value) and value > 0):
            raise SettingError(setting, expected, value)
        return Interval(float(value))
    match = FORM.fullmatch(str(value).strip())
    if not match:
        raise SettingError(setting, expected, value)
    count, unit = float(match[1]), match[2].lower()
    singular = unit.removesuffix("s") if len(unit) > 1 else unit
    if count > 0 and singular in SECONDS:
        return Interval(count * SECONDS[singular])
    if count >= 1 and count.is_integer() and not seconds_only:
        if singular == "step":
            return Interval(count, "steps")
        if singular == "epoch":
            return Interval(count, "epochs")
    raise SettingError(setting, expected, value)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often a training is saved, None for what costs a hundredth; how long it may take, None for ever.

    `patience` is how many seconds ranks wait for one that does not answer, None for the usual ones.
    """

    every: Interval | None = None
    limit: Interval | None = None
    patience: float | None = None


def read_pace(
    checkpoint_every: str | float | None, max_time: str | float | None, rank_timeout: str | float | None = None
) -> Pace:
    """Return the pace that arguments of a run mean; raise SettingError."""
    waits = None if rank_timeout is None else read_interval("rank_timeout", rank_timeout, seconds_only=True)
    return Pace(
        patience=None if waits is None else waits.count,
        every=None if checkpoint_every is None else read_interval("checkpoint_every", checkpoint_every),
        limit=None if max_time is None else read_interval("max_time", max_time, seconds_only=True),
    )
