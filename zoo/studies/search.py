"""Search: the trials of a sweep, known before or suggested one after the other, done and scored on their validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import DataError, ZooError
from zoo.records.repeat import write_command
from zoo.records.run_folder import FINISHED, WEIGHTS_FILE
from zoo.registry.fetching import fetch_dataset
from zoo.studies.advice import Adviser, follow_advice
from zoo.studies.ranking import Sweep, SweepTrial, rank_trials, tell_trial
from zoo.studies.study import Base
from zoo.studies.trials import Attempt, Trial, do_all, find_attempts
from zoo.training.choice import Choice
from zoo.training.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class Search:
    """The trials of a sweep in a folder: the listed ones, or those of an adviser where there is one.

    `choice` says which score on the validation split is the best.
    """

    base: Base
    folder: Path
    choice: Choice
    listed: Sequence[Trial] = ()
    adviser: Adviser | None = None

    def list_trials(self) -> Sequence[Trial]:
        """Return the trials in their order; of suggested ones those that were begun."""
        return self.adviser.list_trials() if self.adviser else self.listed

    def look(self) -> Sweep:
        """Return what the trials came to so far."""
        return rank_trials(
            self.folder,
            self.list_trials(),
            self.choice,
            self.adviser.trials if self.adviser else len(self.listed),
        )

    def go_on(self, *, jobs: int, seconds: float, on_trial: Callable[[SweepTrial], None] | None) -> None:
        """Do the trials that are not done; `on_trial` is called with each. None is begun after so many seconds.

        Raises:
            DownloadError: the data cannot be had: no trial would do better.
            DataError: the data of two trials differ.
        """
        places = self.base.places
        fetch_dataset(self.base.ask({}).plan.dataset, places.data_dir, offline=places.offline)
        digests: dict[str, str] = {}

        def tell(name: str) -> None:
            attempts = find_attempts(self.folder, [name])
            _check_data(attempts, digests)
            if on_trial is not None:
                point = next(trial.point for trial in self.list_trials() if trial.name == name)
                on_trial(tell_trial(name, point, attempts.get(name)))

        _check_data(find_attempts(self.folder, [trial.name for trial in self.list_trials()]), digests)
        if self.adviser is not None:
            follow_advice(self.base, self.adviser, jobs=jobs, tell=tell, seconds=seconds)
        else:
            do_all(self.base, self.listed, self.folder, jobs=jobs, tell=tell, seconds=seconds)

    def score_best(self, data_dir: str | Path | None) -> Sweep:
        """Return what the trials came to, with the scores of the best one on the test split where there is one.

        `data_dir` is for the command that trains it again, where it is not the usual one.

        Raises:
            DataError: see `go_on`; other machines may have done trials as well.
            ZooError: all trials failed, or the best one cannot be scored.
        """
        done = self.look()
        attempts = find_attempts(self.folder, [trial.name for trial in done.trials])
        _check_data(attempts, {})
        failed = [trial for trial in done.trials if trial.why]
        if failed and len(failed) == len(done.trials):
            why = f"the first one: {failed[0].why}"
            error = ZooError(f"all {len(failed)} trials failed", why, f"Their records are in {done.folder}")
            error.exit_code = attempts[failed[0].name].exit_code
            raise error
        if done.best is None:
            return done
        attempt, plan = attempts[done.best.name], self.base.ask(done.best.point).plan
        scored = evaluate(
            attempt.folder / WEIGHTS_FILE,
            metrics=list(plan.metrics),
            metric_params={name: params for name, params in plan.metric_params.items() if params},
            registry=self.base.places.registry,
            data_dir=self.base.places.data_dir,
            offline=self.base.places.offline,
            device=attempt.record.device,
            threads=attempt.record.threads,
        )
        return replace(done, metrics=scored.metrics, command=write_command(attempt.record, data_dir))


def _check_data(attempts: Mapping[str, Attempt], digests: dict[str, str]) -> None:
    """Note the data that finished trials had in `digests`, each with the first trial that had them.

    Raises:
        DataError: they differ, so that the scores of the trials cannot be compared.
    """
    for name, attempt in attempts.items():
        data = attempt.record.dataset
        if attempt.status == FINISHED and data is not None and data.digest:
            digests.setdefault(data.digest, name)
    if len(digests) > 1:
        first, other, *_ = digests.values()
        what = f"the data of {first} and {other} differ"
        raise DataError(what, "their scores cannot be compared", "Begin another sweep, output='another' say")
