"""Ranking: the trials of a sweep and what each came to, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from zoo.display import align, make_table, say
from zoo.records.plain import to_json_data
from zoo.records.run_folder import FAILED, FINISHED
from zoo.studies.confirmation import Confirmation
from zoo.studies.space import Point, show_value
from zoo.studies.trials import SETTLED, WAITING, Attempt, Trial, find_attempts
from zoo.training.choice import Choice

SHOWN = 10
"""Trials in a table for people."""


@dataclass(frozen=True, kw_only=True)
class SweepTrial:
    """A trial of a sweep.

    Fields:
        name: Of the trial, `trial-003`.
        point: What was varied, by name.
        status: What became of it: `finished`, or another word of `RunRecord`; `waiting` where it was not begun.
        score: The best score on the validation split; None where there is none.
        epoch: The epoch of that score, from 1 on.
        seconds: How long it took.
        run: The folder of its newest run.
        why: What ended it, in words, where it did not finish.
    """

    name: str
    point: Mapping[str, Any]
    status: str
    score: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    run: Path | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """What a sweep came to.

    Fields:
        folder: Its folder, a folder of runs: `zoo.runs(runs_dir=folder)` lists the trials.
        monitor, higher_is_better: The score on the validation split that chooses, and whether more of it is better.
        asked: How many trials were asked for.
        trials: All of them in their order; of suggested ones those that were begun.
        best: The one with the best score; of equal ones the first. None where no trial has one yet.
        metrics: Its scores on the test split.
        command: The `zoo run` that trains it again; None where no command line spells it.
        picture: The scores over what was varied; None where matplotlib is not installed.
        confirmation: Where it was asked for.
    """

    folder: Path
    asked: int
    monitor: str
    higher_is_better: bool
    trials: tuple[SweepTrial, ...]
    best: SweepTrial | None = None
    metrics: Mapping[str, float]
    command: str | None = None
    picture: Path | None = None
    confirmation: Confirmation | None = None

    @property
    def ranked(self) -> list[SweepTrial]:
        """The trials, the best first; those without a score come last."""
        sign = -1 if self.higher_is_better else 1
        return sorted(self.trials, key=lambda trial: inf if trial.score is None else sign * trial.score)

    @property
    def left(self) -> int:
        """How many trials are still to be done."""
        return max(0, self.asked - self.count(*SETTLED, FAILED))

    def count(self, *statuses: str) -> int:
        """Return how many trials came to one of these."""
        return sum(trial.status in statuses for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        plain: dict[str, Any] = to_json_data(_name_paths(asdict(self)))
        return plain

    def make_rows(self, most: int = SHOWN) -> list[list[str]]:
        """Return the best trials as rows of a table, the heading first."""
        names = list(self.trials[0].point) if self.trials else []
        rows = [["trial", *names, f"validation {self.monitor}", "epoch", "status"]]
        for trial in self.ranked[:most]:
            score = "-" if trial.score is None else f"{trial.score:.4f}"
            epoch = "-" if trial.epoch is None else str(trial.epoch)
            rows.append([trial.name, *map(show_value, trial.point.values()), score, epoch, trial.status])
        return rows

    def __repr__(self) -> str:
        told = f"{self.count(FINISHED)} of {len(self.trials)} trials finished"
        best = self.best and f"best {self.best.name}, validation {self.monitor} {self.best.score:.4f}"
        return f"{say('Sweep', told, best, folder=self.folder)}\n{align(self.make_rows())}"

    def _repr_html_(self) -> str:
        heading, *rows = self.make_rows(len(self.trials))
        return make_table(rows, heading, caption=f"{len(self.trials)} trials in {self.folder}")


def _name_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _name_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_name_paths(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def tell_trial(name: str, point: Point, attempt: Attempt | None) -> SweepTrial:
    """Return what a trial came to in its newest run, None where it was not begun."""
    if attempt is None:
        return SweepTrial(name=name, point=point, status=WAITING)
    record, best = attempt.record, attempt.record.best
    score = best.get("value") if attempt.status == FINISHED else None
    return SweepTrial(
        name=name,
        point=point,
        status=attempt.status,
        score=score,
        epoch=best.get("epoch"),
        seconds=record.seconds,
        run=attempt.folder,
        why=attempt.why,
    )


def rank_trials(folder: Path, trials: Sequence[Trial], choice: Choice, asked: int) -> Sweep:
    """Return what the trials in a folder came to so far, and which one is the best."""
    attempts = find_attempts(folder, [trial.name for trial in trials])
    found = [tell_trial(trial.name, trial.point, attempts.get(trial.name)) for trial in trials]
    sign = -1 if choice.higher_is_better else 1
    scored = [trial for trial in found if trial.score is not None]
    return Sweep(
        folder=folder,
        asked=asked,
        monitor=choice.monitor,
        higher_is_better=choice.higher_is_better,
        trials=tuple(found),
        best=min(scored, key=lambda trial: sign * float(trial.score or 0.0), default=None),
        metrics={},
    )
