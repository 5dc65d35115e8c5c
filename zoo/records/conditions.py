"""Conditions: what `--where` asks of a run, `accuracy>0.85` say, as a name, a sign and a value; it is never run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError, quote, suggest
from zoo.records.summary import COLUMNS, RunSummary

FORM = re.compile(
    r"\s*(?P<name>[^\s<>=!]+)\s*(?P<sign><=|>=|==|!=|<|>|=)\s*(?P<value>[^<>=!\s](?:.*\S)?)\s*", re.DOTALL
)
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
SAME = ("=", "==", "!=")
WORDS: dict[str, Any] = {"true": True, "yes": True, "false": False, "no": False, "none": None}
AS_IN = "As in: accuracy>0.85, lr<=0.1 or optimizer=adam"
MOST = 24
"""Names that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A comparison that a run meets or not; `value` is a number, a text, True, False, or None for what is not there."""

    text: str
    name: str
    sign: str
    value: Any

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read `NAME SIGN VALUE`; raise UsageError for another form."""
        found = FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"no condition can be read from {quote(text)}", "expected NAME, a sign, VALUE", AS_IN)
        value, sign = _read_value(found["value"]), found["sign"]
        is_ordered = type(value) in (int, float) or (isinstance(value, str) and found["name"] == "started")
        if sign not in SAME and not is_ordered:
            why = f"{sign} compares numbers, and {quote(found['value'])} is none"
            raise UsageError(f"no condition can be read from {quote(text)}", why, AS_IN)
        return cls(text=text, name=found["name"], sign=sign, value=value)

    def check(self, values: Iterable[Any]) -> None:
        """Raise UsageError where all values of that name are of another kind than its own."""
        kinds = {_name_kind(value): value for value in values if value is not None}
        kind = _name_kind(self.value)
        if kinds and self.value is not None and kind not in kinds:
            (other, example), *_ = kinds.items()
            why = f"{self.name} is {other}, {example!r} say, and {self.value!r} is {kind}"
            raise UsageError(f"no run can meet {quote(self.text)}", why, AS_IN)

    def is_met(self, value: Any) -> bool:
        """Tell whether a value meets it; None, which means that a run has none, or another kind does not."""
        if self.value is None:
            return SIGNS[self.sign](value is None, True)
        if value is None or _name_kind(value) != _name_kind(self.value):
            return False
        return SIGNS[self.sign](value, self.value)


def choose(texts: Sequence[str], runs: Sequence[RunSummary]) -> tuple[list[Condition], list[RunSummary]]:
    """Read conditions; return them, and the runs that meet them all.

    Raises:
        UsageError: one has another form, names what no run has, or compares with something of another kind.
    """
    conditions, met = [Condition.read(text) for text in texts], list(runs)
    for condition in conditions:
        check_name(condition.name, runs)
        values = {run.name: run.find(condition.name) for run in runs}
        condition.check(values.values())
        met = [run for run in met if condition.is_met(values[run.name])]
    return conditions, met


def check_name(name: str, runs: Sequence[RunSummary]) -> None:
    """Raise UsageError where no run has anything of a name; says what they have. No runs may have anything."""
    if not runs or name in COLUMNS or any(run.find(name) is not None for run in runs):
        return
    counts = dict[str, int]()
    for run in runs:
        for known in run.list_names():
            counts[known] = counts.get(known, 0) + 1
    names = sorted(counts, key=lambda known: -counts[known])  # what most runs have comes first
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    told = f"Runs have {', '.join(names[:MOST])}{more}"
    raise UsageError(f"no run has {quote(name)}", fix=f"{suggest(name, names, '')} {told}".strip())


def _read_value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for form in (int, float):
        try:
            return form(text)
        except ValueError:
            continue
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _name_kind(value: Any) -> str:
    return "True or False" if isinstance(value, bool) else "a number" if isinstance(value, int | float) else "a text"
