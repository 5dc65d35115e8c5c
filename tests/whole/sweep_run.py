"""Sweep: a whole `zoo run` is killed, stopped, or has its disk fail at random moments, and what it leaves is examined.

    python tests/whole/sweep_run.py --moments 200

Each run is a process of its own, forked from this one, in which everything is imported already. Moments are times, or
calls that write (open, write, fsync, rename, mkdir), counted. After each, every weights file must prove itself, every
record must be true, and nothing that was shown as finished may be missing. The first moment that fails ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import zoo
import zoo.training.run  # everything that a run imports is imported before the forks
from zoo.cli.main import main as run_zoo
from zoo.records.header import read_header
from zoo.records.runs import read_record

EPOCHS = 4
PLUGIN = """
import torch, zoo

@zoo.dataset(name="sides", input_shape=(1, 8, 8))
def load(*, root):
    targets = torch.arange(2000) % 2
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(2000, 1, 8, 8, generator=generator) * 100 + 100 * targets.view(-1, 1, 1, 1)).to(torch.uint8)
    split = (images, targets)
    return zoo.DataSplits(train=split, test=split, validation=split, class_names=["left", "right"])
"""
CALLS = ("open", "write", "fsync", "replace", "mkdir")
STOPS = {"INT": 130, "TERM": 143, "HUP": 129}
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


@dataclass(frozen=True)
class Moment:
    """What happens to a run, and when.

    Fields:
        what: A signal, or the error of a call.
        twice: Whether a signal is sent twice.
        seconds: After which time it is sent; None where calls are counted.
        call: Before which of the calls that write it happens, from 1 on.
        lasting: Whether all later calls fail as well, below the runs folder or everywhere.
    """

    what: str
    twice: bool = False
    seconds: float | None = None
    call: int = 0
    lasting: str = ""


class Calls:
    """Counts the calls that write, in the process of a run, and lets one fail or the process end before it."""

    def __init__(self, moment: Moment, runs: Path) -> None:
        self.moment, self.runs, self.count, self.paths = moment, str(runs), 0, dict[int, str]()
        for name in CALLS:
            setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, call: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            path = str(self.paths.get(arguments[0], "") if isinstance(arguments[0], int) else arguments[0])
            # Not what Python opens to read.
            counted = name != "open" or bool(arguments[1] & os.O_CREAT)
            if counted and path:
                self.count += 1
                self.strike(path)
            found = call(*arguments, **named)
            if name == "open" and counted:
                self.paths[found] = path
            return found

        return wrapped

    def strike(self, path: str) -> None:
        moment = self.moment
        now = self.count == moment.call
        if moment.what in FAULTS:
            later = 0 < moment.call < self.count and moment.lasting
            if now or (later and (moment.lasting == "everywhere" or path.startswith(self.runs))):
                raise OSError(FAULTS[moment.what], os.strerror(FAULTS[moment.what]))
        elif now:
            for _ in range(1 + moment.twice):
                os.kill(os.getpid(), getattr(signal, f"SIG{moment.what}"))


def start_run(folder: Path, moment: Moment) -> int:
    """Fork a `zoo run`; return its process number once it begins."""
    begun, begin = os.pipe()
    child = os.fork()
    if child:
        os.close(begin)
        os.read(begun, 1)
        os.close(begun)
        return child
    code = 99
    try:
        os.chdir(folder)
        os.environ.update(ZOO_HOME=str(folder / "home"), ZOO_RUNS_DIR=str(folder / "runs"), TMPDIR=str(folder / "tmp"))
        tempfile.tempdir = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.dup2(os.open("out", os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(os.open("err", os.O_CREAT | os.O_WRONLY), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        calls = Calls(moment, folder / "runs")
        plugin = str(folder.parent / "sides.py")
        os.close(begin)
        code = run_zoo(["run", "--plugin", plugin, "--dataset", "sides", "--epochs", str(EPOCHS), "--debug"])
        sys.stdout.flush()
        Path("calls").write_text(str(calls.count), encoding="utf-8")
    finally:
        os._exit(code)


def run_until(folder: Path, moment: Moment) -> int:
    """Let a run meet its moment; return how it ended, as a negative number where a signal killed it."""
    for name in ("home", "runs", "tmp"):
        (folder / name).mkdir(parents=True)
    if (known := folder.parent / "first" / "home" / "cache").exists():
        shutil.copytree(known, folder / "home" / "cache")  # indexing the plugins would take longer than the run
    child = start_run(folder, moment)
    if moment.seconds is not None:
        ended = os.pidfd_open(child)
        time.sleep(moment.seconds)
        for _ in range(1 + moment.twice):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(ended, getattr(signal, f"SIG{moment.what}"))
        os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def choose_moment(chance: random.Random, seconds: float, calls: int) -> Moment:
    """Return a moment: a third each are kills, stops and faults."""
    kind = chance.choice(("kill", "stop", "fault"))
    when: dict[str, Any] = {"call": chance.randint(1, calls)}
    if kind == "fault":
        lasting = chance.choice(("", "in runs", "everywhere"))
        return Moment(chance.choice(list(FAULTS)), lasting=lasting, **when)
    if chance.random() < 0.6:
        when = {"seconds": chance.uniform(0, seconds)}
    what = "KILL" if kind == "kill" else chance.choice(list(STOPS))
    return Moment(what, twice=kind == "stop" and chance.random() < 0.5, **when)


def examine(folder: Path, moment: Moment, code: int) -> str:
    """Check what a run left; return in a word how it ended."""
    error = (folder / "err").read_text(encoding="utf-8") if (folder / "err").exists() else ""
    shown = max(map(int, re.findall(r"^epoch (\d+) ", error, re.MULTILINE)), default=0)
    expected = {0, STOPS.get(moment.what, 7)} | (
        {-getattr(signal, f"SIG{moment.what}")} if moment.what not in FAULTS else set()
    )
    assert code in expected, f"exit {code}"
    found = [*folder.glob("runs/*/weights.safetensors"), *folder.glob("home/rescued/*/weights.safetensors")]
    found += folder.glob("tmp/*/weights.safetensors")
    for path in [*found, *folder.glob("runs/*/last.safetensors")]:
        assert zoo.verify(path).checks["golden samples"].startswith("8 replayed"), path
    # Where only the rename could not be made durable, the weights are in their place and were saved elsewhere too.
    assert len(found) <= 1 + (moment.what in FAULTS), found
    found.sort(key=lambda path: str(path) in error, reverse=True)
    if code >= 0 and not moment.twice:  # a second signal may come while the first one is being obeyed
        assert not list(folder.rglob("*.part")), "part files were left"
    runs = list((folder / "runs").iterdir())
    assert len(runs) <= 1, runs
    if not runs:
        assert not shown and not found and code
        return "before it began"
    if not (runs[0] / "run.json").exists():
        assert not shown and not found and code == -signal.SIGKILL
        return "before its record"
    record = read_record(runs[0] / "run.json")
    beside = [path.parent / "run.json" for path in found if (path.parent / "run.json").exists()]
    if record.status == "killed" and beside:
        record = read_record(beside[0])
    history = list(record.history)
    assert [epoch["epoch"] for epoch in history] == list(range(1, len(history) + 1))
    complete = (len(history), bool(found), (runs[0] / "predictions.safetensors").exists()) == (EPOCHS, True, True)
    if record.status == "killed":
        # It was killed, or nothing could be written any more.
        assert code == -signal.SIGKILL or (code == 7 and moment.what in FAULTS), code
        assert code < 0 or found or moment.lasting == "everywhere" or not shown, "a finished epoch is lost"
        return "killed"
    assert record.status in ("finished", "interrupted", "failed"), record.status
    assert len(history) >= shown, f"{shown} epochs were shown, {len(history)} are recorded"
    assert code or record.status == "finished"
    assert record.status != "finished" or (complete and record.validation)
    if history and moment.lasting != "everywhere":
        assert found, "a finished epoch is lost"
    if found:
        assert str(found[0]) in error or code in (0, -signal.SIGKILL), "the message does not name the weights"
        # There is a validation split: the test split is scored once, after the weights of the best epoch were saved.
        said = read_header(found[0]).metadata.get("metrics") or {}
        assert said in ({}, record.metrics), "the weights have other scores than the record"
        best = record.best["epoch"]
        assert record.validation == history[best - 1]["validation"], "the record tells of another epoch"
        losses = [epoch["validation"]["loss"] for epoch in history]
        assert losses.index(min(losses)) == best - 1, "the weights are of another epoch"
    return f"{record.status}{'' if record.status == 'finished' or history else ' before an epoch'}"


def sweep(moments: int, seed: int, folder: Path) -> Counter[str]:
    """Let so many runs meet a moment each; return how often they ended how.

    Raises:
        AssertionError: names the moment and what is wrong; the folder of that run is left.
    """
    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])  # imports what takes longer than a run
    (folder / "sides.py").write_text(PLUGIN, encoding="utf-8")
    run_until(folder / "first", Moment("ENOSPC"))
    started = time.perf_counter()
    assert run_until(folder / "whole", Moment("ENOSPC")) == 0, (folder / "whole" / "err").read_text(encoding="utf-8")
    seconds = time.perf_counter() - started
    calls = int((folder / "whole" / "calls").read_text(encoding="utf-8"))
    chance, ends = random.Random(seed), Counter[str]()
    for number in range(moments):
        moment, place = choose_moment(chance, seconds, calls), folder / str(number)
        code = run_until(place, moment)
        try:
            ends[f"{moment.what}: {examine(place, moment, code)}"] += 1
        except Exception as error:
            raise AssertionError(
                f"moment {number} of seed {seed}, {moment}, in {place}: exit {code}, {error}"
            ) from error
        shutil.rmtree(place)
    return ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="zoo-sweep-"))
    print(json.dumps(dict(sorted(sweep(given.moments, given.seed, scratch).items())), indent=2))
    shutil.rmtree(scratch)
