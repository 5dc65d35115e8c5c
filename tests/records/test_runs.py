"""The record of a run tells the truth also when its process is gone, and where it cannot be told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main
from zoo.records.origins import DatasetOrigin
from zoo.records.process import describe_process, is_running
from zoo.records.run_folder import SILENCE
from zoo.records.runs import RunRecord, create_run, read_record, save_record

HERE = describe_process()
KNOWN = {
    "status": "running",
    "started": "2026-11-24T12:00:00.000+00:00",
    "model": "baseline",
    "dataset": DatasetOrigin(name="shapes"),
    "device": "cpu",
    "device_name": "cpu",
    "seed": 1,
    "parameters": 10,
    "seconds": 1.0,
}


def write_run(runs: Path, process, *, age: float = 0, **parts) -> Path:
    """Make the folder of a run whose record was last touched so many seconds ago; return the path of the record."""
    folder = create_run(runs, "baseline", "shapes")
    save_record(folder, RunRecord(**{**KNOWN, "process": process, **parts}))
    os.utime(folder / "run.json", (time.time() - age,) * 2)
    return folder / "run.json"


@pytest.fixture
def child():
    """Return a process that waits, and what it is."""
    with subprocess.Popen([sys.executable, "-IS", "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        yield process, replace(HERE, pid=process.pid, started=started)
        process.kill()


def test_a_run_reads_killed_when_its_process_is_gone(tmp_path, child):
    process, origin = child
    path = write_run(tmp_path, origin, age=10 * SILENCE)
    assert read_record(path).status == "running"
    process.send_signal(signal.SIGSTOP)  # a process that is halted may go on
    assert read_record(path).status == "running"
    process.kill()
    deadline = time.monotonic() + 30
    # Nobody has asked for its end yet: it is a zombie.
    while is_running(origin) and time.monotonic() < deadline:
        os.sched_yield()
    assert read_record(path).status == "killed"
    process.wait()
    assert read_record(path).status == "killed"
    assert json.loads(path.read_text())["status"] == "running"  # readers change nothing


@pytest.mark.parametrize(
    ("changes", "fresh", "old"),
    [
        ({}, "running", "running"),
        ({"started": 1}, "killed", "killed"),  # another process has the number now
        ({"pid": 2**22 + 1}, "killed", "killed"),
        ({"started": None}, "running", "running"),
        ({"namespace": None}, "running", "running"),
        ({"boot": "another"}, "running", "unknown"),
        ({"boot": None}, "running", "unknown"),
        ({"host": "elsewhere"}, "running", "unknown"),
        ({"host": "elsewhere", "pid": 2**22 + 1}, "running", "unknown"),
        ({"namespace": "pid:[1]", "pid": 2**22 + 1}, "running", "unknown"),
    ],
)
def test_what_is_told_of_a_process(tmp_path, changes, fresh, old):
    origin = replace(HERE, **changes)
    assert read_record(write_run(tmp_path, origin)).status == fresh
    assert read_record(write_run(tmp_path, origin, age=SILENCE + 5)).status == old
    assert read_record(write_run(tmp_path, origin, age=SILENCE - 5)).status == fresh


def test_a_run_that_does_not_name_its_process_is_unknown_after_a_while(tmp_path):
    assert read_record(write_run(tmp_path, None)).status == "running"
    assert read_record(write_run(tmp_path, None, age=SILENCE + 5)).status == "unknown"


def test_an_end_that_was_written_stays(tmp_path):
    for status in ("finished", "failed", "interrupted", "diverged"):
        gone = replace(HERE, started=1)
        assert read_record(write_run(tmp_path, gone, status=status, age=2 * SILENCE)).status == status


@pytest.mark.parametrize("process", [5, {}, {"host": "a"}, {"host": 1, "pid": 1}, {"host": "a", "pid": True}, [1]])
def test_a_process_of_another_form_is_not_known(tmp_path, process):
    path = write_run(tmp_path, None)
    table = {**json.loads(path.read_text()), "process": process}
    path.write_text(json.dumps(table))
    assert read_record(path).process is None


def test_a_run_without_weights_says_what_became_of_it(tmp_path, capsys):
    path = write_run(tmp_path, replace(HERE, started=1), train_config={"epochs": 3})
    assert main(["show", str(path.parent)]) == 4
    assert capsys.readouterr().err.endswith("its run is 'killed', 0 of 3 epochs are recorded\n")
    with pytest.raises(zoo.WeightsError, match="its run is 'killed'"):
        zoo.verify(path.parent)


def test_a_run_touches_its_record(tmp_path, monkeypatch):
    """The thread that does so is real; a minute is shortened."""
    monkeypatch.setattr("zoo.training.recording.HEARTBEAT", 1e-4)
    seen = []

    def wait(epoch):
        (path,) = tmp_path.glob("*/run.json")
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            os.sched_yield()
        seen.append((path.stat().st_mtime, read_record(path)))

    zoo.run(epochs=2, dataset_params={"train_size": 64, "test_size": 20}, runs_dir=tmp_path, on_epoch=wait)
    assert all(time.time() - touched < 60 for touched, _ in seen)
    # What was last written long ago is written again after an epoch, so a killed run keeps its history.
    assert [(record.status, len(record.history)) for _, record in seen] == [("running", 1), ("running", 2)]
    assert seen[0][1].process == describe_process()
