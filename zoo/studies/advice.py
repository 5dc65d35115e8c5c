"""Advice: trials that Optuna suggests from those before, and trials without hope, which it ends early.

Its journal lies in the folder of the sweep, so that all processes and machines that share the folder learn from each
other. What became of a trial is what its run says; the journal is told.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from math import inf, isinf
from pathlib import Path
from typing import Any

from zoo.errors import PrunedError, StorageError, UsageError, describe
from zoo.records.history import Epoch
from zoo.records.run_folder import DIVERGED, FAILED, FINISHED, PRUNED
from zoo.storage.locks import lock
from zoo.studies.pool import Tell, work_together
from zoo.studies.space import Axis, Point
from zoo.studies.study import Base
from zoo.studies.trials import LOCKS, Trial, claim, do, find_attempts, note_loss
from zoo.training.blame import OnEpoch

log = logging.getLogger("zoo")

JOURNAL = "journal.log"
ENOUGH = 4
"""Trials that have come to an end before one is compared with their median."""
PATIENCE = 60.0
"""Seconds that a process waits for others that ask."""


@dataclass(frozen=True, kw_only=True)
class Adviser:
    """What is asked of Optuna.

    Fields:
        folder: That of the sweep.
        axes: What is varied.
        trials: How many come to an end of their own.
        seed: Of what is suggested.
        monitor, higher: The score on the validation split, and whether more of it is better.
        prune: Whether a trial ends early whose best score is worse than the median of those that finished, at the same
            epoch.
    """

    folder: Path
    axes: tuple[Axis, ...]
    trials: int
    seed: int
    monitor: str
    higher: bool
    prune: bool

    def list_trials(self) -> list[Trial]:
        """Return the trials that were begun, in their order."""
        with open_journal(self) as study:
            # A process that was killed while it asked leaves a trial without some of its values.
            begun = [each for each in study.trials if len(each.params) == len(self.axes)]
        return [Trial(name=name_trial(each.number), point=self.read_point(each.params)) for each in begun]

    def read_point(self, params: Mapping[str, Any]) -> Point:
        """Return the point that parameters of Optuna mean."""
        return {
            axis.name: axis.values[int(params[axis.name])] if axis.values else axis.fit(params[axis.name])
            for axis in self.axes
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which another process makes the same."""
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Adviser:
        """Return what `to_json` told."""
        axes = tuple(Axis(**{**axis, "values": tuple(axis["values"])}) for axis in table["axes"])
        return cls(**{**table, "folder": Path(table["folder"]), "axes": axes})


def name_trial(number: int) -> str:
    """Return the name of a trial that Optuna counts from 0."""
    return f"trial-{number + 1:03}"


def find_optuna() -> Any:
    """Return Optuna; raise UsageError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        fix = "Install it: pip install 'zoo-torch[sweep]'"
        raise UsageError("suggested trials need optuna", describe(error), fix) from error
    return optuna


@contextmanager
def open_journal(adviser: Adviser) -> Iterator[Any]:
    """Give the study of Optuna in the folder of a sweep, which other processes leave alone meanwhile.

    Raises:
        StorageError: the journal is damaged, or gone: it alone says what each trial was told.
    """
    optuna = find_optuna()
    from optuna.storages.journal import JournalFileBackend

    before = optuna.logging.get_verbosity()
    with lock(adviser.folder / LOCKS / "journal.lock", timeout=PATIENCE), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            # Its own lock is a file that a killed process leaves behind; ours ends with the process.
            held: Any = _Held()
            path, fix = adviser.folder / JOURNAL, "Begin another sweep with output=...; the runs of this one stay"
            if not path.exists() and any(adviser.folder.glob("trial-*")):
                raise StorageError(f"{path} is gone", "it alone says what each trial was told", fix)
            _drop_torn_line(path)
            try:
                study = optuna.create_study(
                    storage=optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=held)),
                    study_name="sweep",
                    load_if_exists=True,
                    direction="maximize" if adviser.higher else "minimize",
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=ENOUGH),
                )
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise StorageError(f"{path} is damaged", describe(error), fix) from error
            # A sampler that is made anew would begin again: what it draws must depend on how far the study is.
            study.sampler = optuna.samplers.TPESampler(seed=adviser.seed + len(study.trials))
            yield study
        finally:
            optuna.logging.set_verbosity(before)


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line without an end, of a process that died while it wrote: the next one would be added to it."""
    with suppress(FileNotFoundError), path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


class _Held:
    """A lock for Optuna where a lock is held already."""

    def acquire(self) -> bool:
        """Say that it is held."""
        return True

    def release(self) -> None:
        """Leave it to whoever holds it."""


def follow_advice(
    base: Base, adviser: Adviser, *, jobs: int, tell: Callable[[str], None], seconds: float = inf
) -> None:
    """Do suggested trials until as many as are asked for have come to an end, here or in several processes.

    `tell` is called with the name of each trial that is done. None is begun after so many seconds.
    """
    find_optuna()
    if jobs == 1:
        work(base, adviser, lambda what, name: tell(name) if what == "done" else None, seconds)
        return

    def lose(name: str, how: str) -> None:
        trial = next(trial for trial in adviser.list_trials() if trial.name == name)
        note_loss(base, adviser.folder, trial, "", how)
        tell(name)

    question = {"base": base.to_json(), "adviser": adviser.to_json(), "seconds": None if isinf(seconds) else seconds}
    device = str(base.ask({}).plan.device)
    work_together(min(jobs, adviser.trials), answer, question, tell, lose, device=device)


def answer(question: Mapping[str, Any], tell: Tell) -> None:
    """In another process: do suggested trials."""
    seconds = inf if question["seconds"] is None else question["seconds"]
    work(Base.from_json(question["base"]), Adviser.from_json(question["adviser"]), tell, seconds)


def work(base: Base, adviser: Adviser, tell: Tell, seconds: float) -> None:
    """Do suggested trials, each claimed before it is begun; the errors are those of `zoo.studies.trials.work`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with ExitStack() as held:
            with open_journal(adviser) as study:
                if _settle(study, adviser) >= adviser.trials:
                    return
                asked = study.ask(_list_distributions(adviser.axes))
                name, point = name_trial(asked.number), adviser.read_point(asked.params)
                held.enter_context(claim(adviser.folder, name))
            tell("begun", name)
            request = base.ask(point)
            watch = _watch(adviser, asked.number, request.plan.config.epochs) if adviser.prune else None
            do(Trial(name=name, point=point), request, adviser.folder, watch)
        with open_journal(adviser) as study:
            _settle(study, adviser)
        tell("done", name)


def _list_distributions(axes: Sequence[Axis]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for axis in axes:
        if axis.values:
            found[axis.name] = CategoricalDistribution(range(len(axis.values)))
        elif axis.whole:
            found[axis.name] = IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        else:
            found[axis.name] = FloatDistribution(axis.low, axis.high, log=axis.log)
    return found


def _settle(study: Any, adviser: Adviser) -> int:
    """Tell the journal what became of trials that nobody works on any more; return how many came to an end.

    What a dead process was doing is told as failed, and suggested once more.
    """
    from optuna.trial import TrialState

    attempts = find_attempts(adviser.folder, [name_trial(each.number) for each in study.trials])
    ended = 0
    for each in study.trials:
        attempt = attempts.get(name_trial(each.number))
        status = attempt.status if attempt else ""
        if each.state == TrialState.RUNNING:
            with claim(adviser.folder, name_trial(each.number)) as free:
                if not free:
                    ended += 1  # it will
                    continue
                if attempt is not None and status == FINISHED and attempt.record.best.get("value") is not None:
                    study.tell(each.number, attempt.record.best["value"])
                else:
                    study.tell(each.number, state=TrialState.PRUNED if status == PRUNED else TrialState.FAIL)
                    if status not in (FINISHED, DIVERGED, FAILED, PRUNED):
                        study.enqueue_trial(each.params)
        ended += status in (FINISHED, DIVERGED, FAILED, PRUNED) and each.state != TrialState.WAITING
    return ended


def _watch(adviser: Adviser, number: int, epochs: int) -> OnEpoch:
    """Return what ends a trial after an epoch that leaves it no hope, unless that was its last one."""

    def watch(epoch: Epoch) -> None:
        score, at = epoch["validation"][adviser.monitor], epoch["epoch"]
        with open_journal(adviser) as study:
            from optuna.trial import Trial as Asked

            asked = Asked(study, next(each._trial_id for each in study.trials if each.number == number))
            asked.report(score, at)
            hopeless = asked.should_prune()
        if hopeless and at < epochs:
            what = f"ended after epoch {at}"
            raise PrunedError(what, f"validation {adviser.monitor} {score:.4f}, worse than half of the trials then")

    return watch
