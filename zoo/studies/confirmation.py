"""Confirmation: whether what a sweep found is better than what there was, by seeds of which it saw none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.records.run_folder import FINISHED
from zoo.results.comparison import compare
from zoo.results.conclusions import describe_group, describe_models
from zoo.studies.space import Point
from zoo.studies.study import Base
from zoo.studies.trials import Trial, do_all, find_attempts


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Several seeds of the best trial and of the settings without what was varied, scored on the test split.

    Fields:
        best, default: the run folders of both.
        groups: the accuracy of each in words, the better one first.
        verdict: whether one is better, in the sentences of `zoo.compare`.
    """

    best: tuple[Path, ...]
    default: tuple[Path, ...]
    groups: Mapping[str, str]
    verdict: tuple[str, ...]


def confirm_best(base: Base, name: str, point: Point, folder: Path, *, jobs: int, seeds: int) -> Confirmation:
    """Train and compare further seeds of the best trial and of the settings without what was varied."""
    seed = base.ask({}).plan.config.seed
    numbers = range(seed + 1, seed + 1 + seeds)
    found = [Trial(name=f"{name}-seed{number}", point={**point, "seed": number}, tested=True) for number in numbers]
    usual = [Trial(name=f"default-seed{number}", point={"seed": number}, tested=True) for number in numbers]
    if base.describe({**point, "seed": seed}) == base.describe({}):
        return Confirmation(best=(), default=(), groups={}, verdict=("the best trial has the default settings",))
    do_all(base, [*found, *usual], folder, jobs=jobs, tell=lambda _: None)
    attempts = find_attempts(folder, [trial.name for trial in (*found, *usual)])
    kept = {name: each.folder for name, each in attempts.items() if each.status == FINISHED}
    places = base.places
    comparison = compare(
        list(kept.values()), registry=places.registry, data_dir=places.data_dir, offline=places.offline
    )
    split = comparison.splits[0]
    return Confirmation(
        best=tuple(kept[trial.name] for trial in found if trial.name in kept),
        default=tuple(kept[trial.name] for trial in usual if trial.name in kept),
        groups={group.name: describe_group(group) for group in split.groups},
        verdict=tuple(describe_models(split)),
    )
