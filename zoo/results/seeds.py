"""Seeds: groups of runs that differ in the seed alone. Their spread shows which differences of models are real."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from zoo.results.names import find_settings, tell_apart
from zoo.results.reading import Result
from zoo.results.significance import Difference, holm_adjust, mean_and_deviation, mean_interval, welch_test


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in the seed alone.

    Fields:
        name: the title of its results, with the settings that tell it from other groups of the same model and data set.
        results, seeds: the names of the results that count, and their seeds; None where a file does not say it.
        repeats: further results of a seed that is in the group already. They are left out: a seed counts once.
        accuracies: of `results`, from 0 to 1.
        mean, deviation: of the accuracies; the sample's standard deviation (n - 1), None for a single seed.
        low, high: the 95 % t interval of the mean, None likewise.
    """

    name: str
    results: tuple[str, ...]
    seeds: tuple[int | None, ...]
    repeats: tuple[str, ...]
    accuracies: tuple[float, ...]
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class GroupPair:
    """Two groups of several seeds each: is one model better?

    Fields:
        first, second: the names of the groups.
        test: Welch's test of their mean accuracies.
        adjusted_p: its p value adjusted by Holm's method to the number of pairs of groups.
    """

    first: str
    second: str
    test: Difference
    adjusted_p: float | None


def group_results(results: Sequence[Result]) -> tuple[Group, ...]:
    """Return the groups of results that were read with their outcomes, the best mean first."""
    found: dict[str, list[Result]] = {}
    settings: dict[str, dict[str, str]] = {}
    for result in results:
        facts = find_settings(result.weights_metadata)
        # A file that names no seed may differ from others in more than its seed, so it is a group of its own.
        alone = str(result.weights) if result.weights_metadata.seed is None else None
        # Neither is a run that stopped early one more seed of those that went on to the end.
        key = json.dumps([facts, alone, result.stopped], sort_keys=True)
        found.setdefault(key, []).append(result)
        settings[key] = facts
    names = _name_groups(found, settings)
    groups = [_make_group(name, group) for name, group in zip(names, found.values(), strict=True)]
    return tuple(sorted(groups, key=lambda group: -group.mean))


def compare_groups(groups: Sequence[Group]) -> tuple[GroupPair, ...]:
    """Return each pair of the groups that have several seeds."""
    pairs = list(combinations([group for group in groups if group.deviation is not None], 2))
    tests = [welch_test(first.accuracies, second.accuracies) for first, second in pairs]
    adjusted = iter(holm_adjust([test.p for test in tests if test.p is not None]))
    return tuple(
        GroupPair(
            first=first.name, second=second.name, test=test, adjusted_p=None if test.p is None else next(adjusted)
        )
        for (first, second), test in zip(pairs, tests, strict=True)
    )


def _name_groups(found: Mapping[str, Sequence[Result]], settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    titles: dict[str, list[str]] = {}
    for key, group in found.items():
        titles.setdefault(group[0].title, []).append(key)
    names: dict[str, str] = {}
    for title, keys in titles.items():
        for key, told in zip(keys, tell_apart([settings[key] for key in keys]), strict=True):
            names[key] = title if len(keys) == 1 else f"{title} ({told or found[key][0].name})"
    return [names[key] for key in found]


def _make_group(name: str, group: Sequence[Result]) -> Group:
    first: dict[int | None, Result] = {}
    for result in group:
        first.setdefault(result.weights_metadata.seed, result)
    counted = [first[seed] for seed in sorted(first, key=lambda seed: seed or 0)]
    accuracies = [result.outcomes.accuracy for result in counted if result.outcomes is not None]
    mean, deviation = mean_and_deviation(accuracies)
    low, high = mean_interval(accuracies) or (None, None)
    return Group(
        name=name,
        results=tuple(result.name for result in counted),
        seeds=tuple(result.weights_metadata.seed for result in counted),
        repeats=tuple(result.name for result in group if result not in counted),
        accuracies=tuple(accuracies),
        mean=mean,
        deviation=deviation,
        low=low,
        high=high,
    )
