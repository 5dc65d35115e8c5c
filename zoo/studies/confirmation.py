"""Confirmation: whether what a sweep found is better than what there was, by seeds of which it saw none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zoo.records.run_folder import FINISHED
from zoo.results.comparison import compare
from zoo.results.conclusions import describe_group, describe_models
from zoo.studies.space import Point
from zoo.studies.study import Base
from zoo.studies.trials import Attempt, Trial, do_all, find_attempts


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Several seeds of the best trial and of the settings without what was varied, scored on the test split.

    Fields:
        best, default: the run folders of both, of those that finished.
        groups: the accuracy of each, and which of both it is, in words; the better one first.
        verdict: whether one is better, in the sentences of `zoo.compare`, or why there is no telling.
    """

    best: tuple[Path, ...] = ()
    default: tuple[Path, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    verdict: tuple[str, ...] = ()


def confirm_best(base: Base, name: str, point: Point, folder: Path, *, jobs: int, seeds: int) -> Confirmation:
    """Train and compare further seeds of the best trial and of the settings without what was varied."""
    seed = base.ask({}).plan.config.seed
    if base.describe({**point, "seed": seed}) == base.describe({}):
        return Confirmation(verdict=("the best trial has the default settings",))
    numbers = range(seed + 1, seed + 1 + seeds)
    found = [Trial(name=f"{name}-seed{number}", point={**point, "seed": number}, tested=True) for number in numbers]
    usual = [Trial(name=f"default-seed{number}", point={"seed": number}, tested=True) for number in numbers]
    do_all(base, [*found, *usual], folder, jobs=jobs, tell=lambda _: None)
    attempts = find_attempts(folder, [trial.name for trial in (*found, *usual)])
    best, default = (
        [attempts[trial.name].folder for trial in trials if _is_finished(attempts.get(trial.name))]
        for trials in (found, usual)
    )
    for which, kept in ((f"of {name}", best), ("of the default settings", default)):
        if len(kept) < 2:  # of one alone there is no deviation
            why = next((f": {each.why}" for each in attempts.values() if each.why), "")
            verdict = f"no verdict: {len(kept)} of {seeds} seeds {which} are finished{why}"
            return Confirmation(best=tuple(best), default=tuple(default), verdict=(verdict,))
    places = base.places
    runs = [*best, *default]
    split = compare(runs, registry=places.registry, data_dir=places.data_dir, offline=places.offline).splits[0]
    of_best = {row.name for row in split.rows if row.run in best}
    titles = {True: name, False: "the default settings"}
    return Confirmation(
        best=tuple(best),
        default=tuple(default),
        groups={
            group.name: f"{describe_group(group)}, {titles[group.results[0] in of_best]}" for group in split.groups
        },
        verdict=tuple(describe_models(split)),
    )


def _is_finished(attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.status == FINISHED
