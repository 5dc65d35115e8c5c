"""Trials: the trainings of a study, each in a run folder with a name of its own, claimed by one process at a time.

The run folders are the truth: what became of a trial is what the record of its newest run says. A claim is a lock,
which ends with its process, so that several processes and machines can work in one folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import inf, isinf
from pathlib import Path
from typing import Any

from zoo import errors
from zoo.errors import SettingError, StorageError, WeightsError, WorkerError, ZooError, describe
from zoo.records.origins import DatasetOrigin
from zoo.records.process import describe_process, is_running
from zoo.records.run_folder import DIVERGED, FAILED, FINISHED, KILLED, PRUNED, RECORD_FILE, RUNNING, UNKNOWN
from zoo.records.runs import RunRecord, create_run, read_record, save_record, save_table
from zoo.registry.origin import find_origin
from zoo.storage.locks import LockHeldError, lock
from zoo.studies.pool import Tell, work_together
from zoo.studies.space import Point
from zoo.studies.study import Base
from zoo.training.blame import OnEpoch
from zoo.training.interval import Pace
from zoo.training.request import Request
from zoo.training.run import carry_out

LOCKS = ".locks"
SETTLED = (FINISHED, DIVERGED, PRUNED)
"""What a trial comes to that would come to the same again."""

MOST_JOBS = 1000

WAITING = "waiting"
"""What is said of a trial that was not begun."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A training that a study asks for.

    Fields:
        name: Of its run folder; where it is done again, those are `name-2`, `name-3` and so on.
        point: What it is told beside what all are.
        tested: Whether it is scored on the test split.
    """

    name: str
    point: Point
    tested: bool = False


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The newest run of a trial, and what its record says."""

    folder: Path
    record: RunRecord

    @property
    def status(self) -> str:
        """What became of it."""
        return self.record.status or UNKNOWN

    @property
    def why(self) -> str:
        """What ended it, in words, where it did not finish."""
        if self.status == KILLED:
            return "its process is gone"
        kind, _, told = (self.record.error or "").partition(": ")
        return told if hasattr(errors, kind) else self.record.error or ""

    @property
    def exit_code(self) -> int:
        """That of `zoo run` for what ended it; 0 where nothing did."""
        if self.status == KILLED:
            return WorkerError.exit_code
        if self.status not in (FAILED, DIVERGED):
            return 0
        kind = getattr(errors, (self.record.error or "").partition(": ")[0], ZooError)
        return int(getattr(kind, "exit_code", ZooError.exit_code))


def find_attempts(folder: Path, names: Iterable[str]) -> dict[str, Attempt]:
    """Return the newest run of each trial that has one; a folder whose record cannot be read is none."""
    known, newest = {*names}, dict[str, int]()
    with suppress(OSError):
        for path in folder.iterdir():
            name, _, again = path.name.rpartition("-")
            if path.name in known:
                newest[path.name] = max(1, newest.get(path.name, 0))
            elif name in known and again.isdecimal() and (path / RECORD_FILE).exists():
                newest[name] = max(int(again[:9]), newest.get(name, 0))
    found = {}
    for name, number in newest.items():
        run = folder / (name if number == 1 else f"{name}-{number}")
        with suppress(WeightsError):
            found[name] = Attempt(folder=run, record=read_record(run / RECORD_FILE))
    return found


def check_jobs(jobs: int) -> None:
    """Raise SettingError for a number of processes that cannot be."""
    if not 1 <= jobs <= MOST_JOBS:
        raise SettingError("jobs", f"must be from 1 to {MOST_JOBS}", jobs)


def do_all(
    base: Base,
    trials: Sequence[Trial],
    folder: Path,
    *,
    jobs: int = 1,
    tell: Callable[[str], None],
    seconds: float = inf,
) -> None:
    """Do what is to be done of trials, here or in several processes; `tell` is called with the name of each one done.

    None is begun after so many seconds. A trial that fails is told by its record, and is not done again here.
    """
    attempts = find_attempts(folder, [trial.name for trial in trials])
    tried = {name: attempt.folder.name for name, attempt in attempts.items()}
    if jobs == 1:
        work(base, trials, folder, tried, lambda what, name: tell(name) if what == "done" else None, seconds)
        return

    told = set[str]()

    def tell_once(name: str) -> None:
        # Before a loss is noted here, another process may have begun the same trial.
        if name not in told:
            told.add(name)
            tell(name)

    def lose(name: str, how: str) -> None:
        note_loss(base, folder, next(trial for trial in trials if trial.name == name), tried.get(name, ""), how)
        tell_once(name)

    question: dict[str, Any] = {"base": base.to_json(), "folder": str(folder), "tried": tried}
    question |= {"trials": list(map(asdict, trials)), "seconds": None if isinf(seconds) else seconds}
    todo = [trial for trial in trials if is_wanted(attempts.get(trial.name), tried.get(trial.name, ""))]
    if todo:
        device = base.ask(todo[0].point).plan.device
        work_together(min(jobs, len(todo)), answer, question, tell_once, lose, device=str(device))


def answer(question: Mapping[str, Any], tell: Tell) -> None:
    """In another process: do what is to be done of trials."""
    trials, seconds = [Trial(**trial) for trial in question["trials"]], question["seconds"]
    base, folder = Base.from_json(question["base"]), Path(question["folder"])
    work(base, trials, folder, question["tried"], tell, inf if seconds is None else seconds)


def work(
    base: Base, trials: Sequence[Trial], folder: Path, tried: Mapping[str, str], tell: Tell, seconds: float
) -> None:
    """Do what is to be done of trials, each once, and leave those that another process has claimed.

    `tried` has the newest run of each trial before all this began: one that is newer is of somebody who works on the
    same.

    Raises:
        StorageError: the disk is full, or fails: no further trial would do better.
    """
    end = time.monotonic() + seconds
    for trial in trials:
        if time.monotonic() >= end:
            return
        with claim(folder, trial.name) as claimed:
            if claimed and is_wanted(find_attempts(folder, [trial.name]).get(trial.name), tried.get(trial.name, "")):
                tell("begun", trial.name)
                do(trial, base.ask(trial.point), folder)
                tell("done", trial.name)


@contextmanager
def claim(folder: Path, name: str) -> Iterator[bool]:
    """Hold a trial for this process while the body runs; give whether nobody else does."""
    with ExitStack() as held:
        try:
            held.enter_context(lock(folder / LOCKS / f"{name}.lock", timeout=0))
        except LockHeldError:
            yield False
        else:
            yield True


def note_loss(base: Base, folder: Path, trial: Trial, tried: str, how: str) -> None:
    """Record that the process of a trial died; `tried` is the run that the trial had before."""
    with claim(folder, trial.name):
        attempt = find_attempts(folder, [trial.name]).get(trial.name)
        if attempt is None or attempt.folder.name == tried:
            _record_failure(folder, trial, base.ask(trial.point), describe(WorkerError(how)))
        elif attempt.status == KILLED:
            save_record(attempt.folder, replace(attempt.record, status=FAILED, error=describe(WorkerError(how))))


def is_wanted(attempt: Attempt | None, tried: str = "") -> bool:
    """Tell whether a trial that nobody has claimed is to be done, where `tried` was its newest run at the start."""
    if attempt is None:
        return True
    if attempt.folder.name != tried or attempt.status in SETTLED:
        return False
    process = attempt.record.process
    return attempt.status != RUNNING or process is None or not is_running(process)


def do(trial: Trial, asked: Request, folder: Path, follow: OnEpoch | None = None) -> None:
    """Train what a trial asks for. An error of it is told by its record, also where the run had none yet.

    Raises:
        StorageError: see `work`.
    """
    places = replace(asked.places, given_runs_dir=folder)
    request = replace(asked, name=trial.name, tested=trial.tested, places=places)
    before = find_attempts(folder, [trial.name]).get(trial.name)
    try:
        carry_out(request, pace=Pace(), on_epoch=follow)
    except StorageError:
        raise
    except ZooError as error:
        after = find_attempts(folder, [trial.name]).get(trial.name)
        if after is None or (before is not None and after.folder == before.folder):
            _record_failure(folder, trial, request, describe(error))


def _record_failure(folder: Path, trial: Trial, request: Request, error: str) -> None:
    """Make the run of a trial that failed before it had one."""
    plan = request.plan
    origin = DatasetOrigin(name=plan.dataset.name, plugin=find_origin(plan.dataset), params=plan.dataset_params)
    record = RunRecord(
        status=FAILED,
        process=describe_process(),
        started=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        model=plan.model.name,
        plugin=find_origin(plan.model),
        params=plan.params,
        dataset=origin,
        train_config=asdict(plan.config),
        seed=plan.config.seed,
        error=error,
    )
    known = {key: value for key, value in record.to_json().items() if value is not None}
    save_table(create_run(folder, plan.model.name, plan.dataset.name, trial.name), known)
