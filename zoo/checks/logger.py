"""The checks of a logger: it is built, hears a run without an error, and writes where runs are."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checks.base import Check, Fault
from zoo.records.history import Epoch
from zoo.records.origins import DatasetOrigin
from zoo.records.run_folder import FINISHED, RUNNING
from zoo.records.runs import RunRecord
from zoo.registry.entries import Entry
from zoo.registry.factories import LOGGER_METHODS, build_logger, load_factory
from zoo.registry.params import resolve_params
from zoo.registry.specs import LoggerSpec
from zoo.training.callbacks import RunState


@dataclass
class LoggerSubject:
    """A logger to check."""

    entry: Entry[LoggerSpec]


def check_builds(subject: LoggerSubject) -> str:
    """It can be built for a run with the params it declares.

    Its factory gets the folder of the run as `run_dir` and gives an object with methods that hear of it.
    """
    with _run_folders() as (folder, *_):
        logger = _build(subject, folder)
        has = [name for name in LOGGER_METHODS if callable(getattr(logger, name, None))]
    return f"it has {', '.join(has)}"


def check_hears(subject: LoggerSubject) -> str:
    """It hears of a run from start to end, of a second one, and of one that fails, without an error.

    An error would cost the run a warning each time, and what the logger should have written.
    """
    with _run_folders() as folders:
        for folder, (status, epochs) in zip(folders, ((FINISHED, 2), ("failed", 1), ("diverged", 0)), strict=True):
            logger = _build(subject, folder)
            for method, argument in _list_events(folder, status, epochs):
                _call(subject, logger, method, argument)
    return "it hears of runs that finish, fail and diverge"


def check_place(subject: LoggerSubject) -> str:
    """It writes into the folder of the run, or beside it, and nowhere else.

    What lies in the current folder, or in the folder of another run, is in the way of others.
    """
    with _run_folders() as (folder, other, *_):
        here = folder.parent.parent / "here"
        before = _list_files(other), _list_files(here)
        logger = _build(subject, folder)
        for method, argument in _list_events(folder, FINISHED, 1):
            _call(subject, logger, method, argument)
        for where, known in zip((other, here), before, strict=True):
            if new := sorted(_list_files(where) - known):
                name = "the current folder" if where == here else "the folder of another run"
                raise Fault(f"it wrote {new[0]} into {name}", "Write below run_dir")
        count = len(_list_files(folder))
    return f"{count} file{'' if count == 1 else 's'} in the folder of the run"


def _build(subject: LoggerSubject, folder: Path) -> object:
    entry = subject.entry
    params = resolve_params(entry.spec, load_factory(entry), {})
    return build_logger(entry, run_dir=folder, params=params)


def _call(subject: LoggerSubject, logger: object, method: str, argument: Any) -> None:
    function: Callable[[Any], None] | None = getattr(logger, method, None)
    if function is not None:
        with subject.entry.plugin.blamed(f"{method} failed"):
            function(argument)


def _list_events(folder: Path, status: str, epochs: int) -> Iterator[tuple[str, Any]]:
    """Yield the methods that a run with so many epochs calls, each with what it is given."""
    record = RunRecord(
        status=RUNNING,
        model="baseline",
        dataset=DatasetOrigin(name="shapes"),
        params={"hidden_units": 10},
        train_config={"epochs": 2, "lr": 0.1, "optimizer": "sgd", "clip": None},
        device="cpu",
        threads=1,
    )
    yield "run_started", RunState(folder=folder, record=record)
    history: list[Epoch] = []
    for number in range(1, epochs + 1):
        scores = {"loss": 2.0 / number, "accuracy": 0.2 * number}
        seconds = {"train": 1.0, "test": 0.5}
        history.append({"epoch": number, "train": {"loss": 2.1 / number}, "test": scores, "seconds": seconds})
        yield "epoch_finished", history[-1]
    ended: dict[str, Any] = {"status": status, "history": history, "metrics": history[-1]["test"] if history else {}}
    ended |= {"error": None if status == FINISHED else "Error: what ended it"}
    yield "run_finished", RunState(folder=folder, record=RunRecord(**{**vars(record), **ended}))


def _list_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _run_folders() -> Iterator[list[Path]]:
    """Yield the folders of three runs beside one another, with the current folder elsewhere."""
    # A logger may keep a file open, which Windows does not let anybody remove.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        root, back = Path(name).resolve(), Path.cwd()
        folders = [root / "runs" / each for each in ("one", "two", "three")]
        for folder in (*folders, root / "here"):
            folder.mkdir(parents=True)
        os.chdir(root / "here")
        try:
            yield folders
        finally:
            os.chdir(back)


GATES = ("builds",)
LOGGER_CHECKS: Mapping[str, Check[LoggerSubject]] = {"builds": check_builds, "hears": check_hears, "place": check_place}
"""The checks in their order."""
