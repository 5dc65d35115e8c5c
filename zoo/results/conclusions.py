"""Conclusions: what a comparison says, in sentences. Whether files differ and whether models do stays apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.results.comparison import Pair, SplitComparison
    from zoo.results.row import Row
    from zoo.results.seeds import Group, GroupPair

SIGNIFICANCE_LEVEL = 0.05
"""A p value below this counts as a difference."""
ONE_SEED_EACH = "one seed each says nothing about the models: use --seeds 5"


@dataclass(frozen=True)
class Cell:
    """A cell of the table of results: its text, and the value that it sorts by, None where that is not known."""

    text: str
    value: float | None


COLUMNS: dict[str, Callable[[Row], Cell]] = {
    "seed": lambda row: Cell("-" if row.seed is None else str(row.seed), row.seed),
    "accuracy": lambda row: Cell(format_percent(row.accuracy), row.accuracy),
    "95 % interval": lambda row: Cell(
        f"{format_percent(row.low, unit='')} to {format_percent(row.high, unit='')}", row.low
    ),
    "correct": lambda row: Cell(f"{row.correct:,}", row.correct),
    "parameters": lambda row: Cell(f"{row.parameters:,}", row.parameters),
    "file size": lambda row: Cell(format_size(row.size), row.size),
    "training time": lambda row: Cell(format_seconds(row.training_seconds), row.training_seconds),
    "time per sample": lambda row: Cell(format_seconds(row.prediction_seconds), row.prediction_seconds),
}
"""What a table of results says of each, beside its name."""


def title_splits(splits: Sequence[SplitComparison]) -> list[str]:
    """Return the name of the data set of each table, with what tells it from others of that name."""
    taken = Counter(split.dataset for split in splits)
    titles = []
    for split in splits:
        data = f", data {split.digest[:8]}" if split.digest else ""
        told = f" ({split.samples:,} samples{data})"
        titles.append(split.dataset if taken[split.dataset] == 1 else f"{split.dataset}{told}")
    return titles


def summarize(comparison: SplitComparison) -> list[str]:
    """Return a few sentences, on the best file and then on the models."""
    best = comparison.rows[0]
    counts = f"{best.correct:,} of {best.samples:,} right"
    interval = f"95 % interval {format_percent(best.low, unit='')} to {format_percent(best.high)}"
    lines = [f"Best file: {best.name}, {counts} ({format_percent(best.accuracy)}, {interval})."]
    if len(comparison.rows) > 1:
        against = find_pairs_of_best(comparison)
        alike = [pair.second for pair in against if pair.adjusted_p >= SIGNIFICANCE_LEVEL]
        if not alike:
            lines.append("It differs from the other one." if len(against) == 1 else "It differs from every other one.")
        else:
            rest = "" if len(alike) == len(against) else f" It differs from the other {len(against) - len(alike)}."
            lines.append(f"It cannot be told apart from {_join_names(alike)}.{rest}")
    return lines + [f"Models: {line}." for line in describe_models(comparison)]


def find_pairs_of_best(comparison: SplitComparison) -> list[Pair]:
    """Return the pairs of the best result with each other one."""
    return [pair for pair in comparison.pairs if pair.first == comparison.rows[0].name]


def describe_pair(pair: Pair) -> str:
    """Return whether two files differ."""
    if pair.gained == pair.lost == 0:
        return "right on the same samples"
    return "they differ" if pair.adjusted_p < SIGNIFICANCE_LEVEL else "cannot be told apart"


def describe_models(comparison: SplitComparison) -> list[str]:
    """Return whether one model is better than another, as far as several seeds tell."""
    groups = comparison.groups
    single = [group for group in groups if group.deviation is None]
    if len(comparison.rows) == 1:
        return []
    if len(single) == len(groups):
        return [ONE_SEED_EACH]
    if len(groups) == 1:
        return ["these are the seeds of one model: there is no other to compare it with"]
    best = next(group.name for group in groups if group.deviation is not None)
    pairs = comparison.group_pairs
    lines = [describe_group_pair(pair, tests=len(pairs)) for pair in pairs if pair.first == best]
    return lines + [f"one seed says nothing about {group.name}: use --seeds 5" for group in single]


def describe_group_pair(pair: GroupPair, *, tests: int) -> str:
    """Return whether one model is better than another; `tests` is the number of pairs that were tested at once."""
    test, names = pair.test, f"{pair.first} and {pair.second}"
    if test.p is None or pair.adjusted_p is None:
        size = format_points(test.difference)
        return f"{names}: {size} percentage points apart, and no seed changes either, so there is nothing to test with"
    interval = f"95 % interval {format_points(test.low)} to {format_points(test.high)}"
    adjusted = f" ({format_p(pair.adjusted_p)} as one of {tests} tests)" if tests > 1 else ""
    facts = f"{format_points(test.difference)} percentage points, {interval}, p {format_p(test.p, sign='= ')}{adjusted}"
    if pair.adjusted_p < SIGNIFICANCE_LEVEL:
        return f"{pair.first} is better than {pair.second}: {facts}"
    return f"{names} cannot be told apart: {facts}"


def describe_group(group: Group) -> str:
    """Return the accuracy of a group as mean and standard deviation, in percent."""
    seeds = f"{len(group.seeds)} seed{'' if len(group.seeds) == 1 else 's'}"
    spread = "" if group.deviation is None else f" ± {100 * group.deviation:.2f}"
    left_out = f", left out as repeats of a seed: {', '.join(group.repeats)}" if group.repeats else ""
    return f"{100 * group.mean:.2f}{spread} % ({seeds}{left_out})"


def format_percent(share: float, *, unit: str = " %") -> str:
    """Return a share from 0 to 1 in percent."""
    return f"{100 * share:.2f}{unit}"


def format_points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.2f}"


def format_p(p: float, *, sign: str = "") -> str:
    """Return a p value with two significant digits after `sign`, or the bound `< 0.0001` without it."""
    return "< 0.0001" if p < 0.0001 else f"{sign}{p:.2g}"


def format_seconds(seconds: float | None) -> str:
    """Return a time in a unit that suits it; `-` where it is not known."""
    if seconds is None:
        return "-"
    if seconds >= 100:
        return f"{seconds:,.0f} s"
    unit, size = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    return f"{seconds / size:.3g} {unit}"


def format_size(size: int) -> str:
    """Return a number of bytes in a unit that suits it."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def _join_names(names: list[str]) -> str:
    """Return names as one reads them aloud, at most five of them and the number of the rest."""
    if len(names) > 5:
        return f"{', '.join(names[:5])} and {len(names) - 5} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
