"""Launch: a command in several processes that train together, started by torchrun, and what they end with as one.

torchrun runs in this process. Each rank says in a file why it ended; the first one that has a reason of its own is told
here, in the one line and with the exit code that a single process would have had.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from zoo.cli.output import lend_stdout
from zoo.errors import SettingError, SeveralErrors, UsageError, WorkerError, ZooError
from zoo.records.process import ProcessOrigin, describe_process, is_running
from zoo.storage.processes import find_port

REPORTS, STARTER = "ZOO_RANK_REPORTS", "ZOO_RANK_STARTER"
"""The variables that tell a rank where it says why it ended, and which process started it."""
TORCHRUN = "TORCHELASTIC_RUN_ID"
"""A variable that torchrun sets for its processes."""
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
"""What torchrun hands on to the ranks."""
SHARED = ("run", "resume", "reproduce", "evaluate", "check")
"""Commands that may be run in several processes."""
LEAVE = 300
"""Seconds in which ranks that are told to stop may end their step and save a checkpoint."""


def report_error(error: ZooError, *, trace: str) -> bool:
    """Say for whoever started this rank why it ended; return whether there is anybody."""
    problems = [{"what": each.what, "why": each.why, "fix": each.fix} for each in error.problems]
    return _report(code=error.exit_code, problems=problems, lost=getattr(error, "is_lost", False), trace=trace)


def report_stop(code: int, notes: Sequence[str]) -> bool:
    """Say for whoever started this rank that it was stopped; return whether there is anybody."""
    return _report(code=code, notes=list(notes))


def _report(**told: Any) -> bool:
    folder = os.environ.get(REPORTS)
    if folder is not None:
        path = Path(folder) / f"{os.environ.get('RANK')}.json"
        path.write_text(json.dumps({**told, "time": time.time()}), encoding="utf-8")
    return folder is not None


@contextmanager
def ending_once() -> Iterator[None]:
    """Ignore what torchrun asks of a rank once the body fails: it is about to end, and has to say why."""
    try:
        yield
    except BaseException:
        if TORCHRUN in os.environ:
            for name in SIGNALS:
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise


def watch_parent() -> None:
    """Let a rank be stopped, as by SIGTERM, when whoever started it is gone: nobody else would end it."""
    if STARTER not in os.environ:
        return
    starter, parent = ProcessOrigin.from_json(json.loads(os.environ[STARTER])), os.getppid()

    def watch() -> None:
        # Where the system tells nothing of other processes, an orphan still has another parent.
        while os.getppid() == parent and is_running(starter) is not False:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def refuse_ranks(command: str) -> None:
    """Raise UsageError where torchrun runs a command in several processes that cannot share its work."""
    from zoo.data.ranks import find_ranks

    if TORCHRUN in os.environ and command not in SHARED and find_ranks().are_several:
        *others, last = SHARED
        what = f"zoo {command} is no work for several processes of torchrun"
        raise UsageError(what, fix=f"Start it by itself; torchrun is for zoo {', '.join(others)} and {last}")


def spread(processes: int | str | None) -> bool:
    """Run the command of this process in several ones, where so many are asked for and this is none of them yet.

    Return whether it is done; the errors are those of `launch`.
    """
    from zoo.data.ranks import find_ranks
    from zoo.registry.settings import resolve_config

    count = resolve_config({}, {"processes": processes}).processes or 1
    if count == 1 or find_ranks().are_several:
        return False
    launch(count, click.get_current_context().find_root().obj)
    return True


def launch(count: int, arguments: Sequence[str]) -> None:
    """Run a command line of zoo in so many processes on this machine, and return when all of them have done it.

    Raises:
        ZooError: a rank failed, or there are too many for this machine.
        KeyboardInterrupt: they were stopped; with the exit code of it.
    """
    import logging

    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from zoo.data.workers import count_bearable, count_cores

    cores = count_cores()
    if count > (most := count_bearable()):
        raise SettingError("processes", f"must be at most {most} on this machine, which has {cores} cores", count)
    with TemporaryDirectory(prefix="zoo-ranks-") as folder, _surroundings(folder, max(1, cores // count)):
        logging.disable(logging.CRITICAL)
        # A port that is known: where torchrun looks for one by itself, its processes send each other pickles.
        place = {"master-addr": "127.0.0.1", "master-port": find_port()}
        given = {"nproc-per-node": count, "log-dir": f"{folder}/logs", **place}
        given |= {"shutdown-timeout": LEAVE, "no-python": None}
        options = [f"--{name}" if value is None else f"--{name}={value}" for name, value in given.items()]
        command = [sys.executable, "-P", "-m", "zoo", *arguments]
        try:
            with lend_stdout():
                torchrun.run(torchrun.parse_args([*options, *command]))
        except ChildFailedError as error:
            ended = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _explain(_read_reports(Path(folder)), ended) from error
        except SignalException as error:
            reports = _read_reports(Path(folder))
            raise _stop(128 + error.sigval, reports.get(0, {}).get("notes", ())) from error
        finally:
            logging.disable(logging.NOTSET)


@contextmanager
def _surroundings(folder: str, threads: int) -> Iterator[None]:
    """Run the body with the variables that ranks need; give back these, and the handlers of signals, as they were."""
    before = dict(os.environ)
    handlers = [(number, signal.getsignal(number)) for name in SIGNALS if (number := getattr(signal, name, None))]
    os.environ |= {REPORTS: folder, STARTER: json.dumps(asdict(describe_process()))}
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers:
            signal.signal(number, handler)


def _read_reports(folder: Path) -> dict[int, Mapping[str, Any]]:
    return {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def _explain(reports: Mapping[int, Mapping[str, Any]], ended: Mapping[int, int]) -> BaseException:
    """Return why the ranks ended: by an error of one, by the end of one, or because they were stopped."""
    errors = sorted((told for told in reports.values() if told.get("problems")), key=lambda told: float(told["time"]))
    own = [told for told in errors if not told["lost"]]
    kept = _find_kept(reports)
    if own:
        return _rebuild(own[0], kept)
    killed = {rank: code for rank, code in ended.items() if code < 0 and rank not in reports}
    for rank, code in sorted(killed.items(), key=lambda item: item[1] == -signal.SIGTERM):
        fix = "The system sends SIGKILL where memory runs out" if code == -getattr(signal, "SIGKILL", 9) else ""
        return WorkerError(f"rank {rank} was ended by {signal.Signals(-code).name}", fix=_join(fix, kept))
    for rank, code in ended.items():
        if rank not in reports:
            return WorkerError(f"rank {rank} ended with exit code {code}, and said nothing", fix=kept)
    # Who was told by another rank that a signal came does not know which one.
    stops = [int(told["code"]) for told in reports.values() if "notes" in told]
    if stops:
        return _stop(max(stops), reports.get(0, {}).get("notes", ()))
    return _rebuild(errors[0], kept)


def _find_kept(reports: Mapping[int, Mapping[str, Any]]) -> str:
    """Return what the first rank said of what is finished, where another one has the reason; else another one."""
    for _, told in sorted(reports.items()):
        if told.get("lost") or told.get("notes"):
            return str(told["problems"][0]["fix"]) if told.get("lost") else " ".join(told["notes"])
    return ""


def _rebuild(told: Mapping[str, Any], kept: str) -> ZooError:
    """Return the error of a rank as it was."""
    problems = [ZooError(each["what"], each["why"], each["fix"]) for each in told["problems"]]
    if kept and kept not in problems[0].fix:
        problems[0].fix = _join(problems[0].fix, kept)
    for problem in problems:
        problem.exit_code = told["code"]
    error = problems[0] if len(problems) == 1 else SeveralErrors(problems)
    error.add_note(told["trace"])
    return error


def _stop(code: int, notes: Sequence[str]) -> KeyboardInterrupt:
    error = KeyboardInterrupt()
    error.exit_code = code  # type: ignore[attr-defined]
    for note in notes:
        error.add_note(note)
    return error


def _join(*sentences: str) -> str:
    *others, last = [each for each in sentences if each] or [""]
    return " ".join([*(f"{each.removesuffix('.')}." for each in others), last])
