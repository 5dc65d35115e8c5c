"""Listing runs reads only what changed, and says what is true whatever happened to the index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
from zoo.records import run_index
from zoo.records.origins import DatasetOrigin
from zoo.records.process import describe_process
from zoo.records.run_index import MOST_BEHIND, TICK, list_runs
from zoo.records.runs import RunRecord, save_record
from zoo.storage.folders import zoo_home

MANY = MOST_BEHIND + 8


def write_run(runs: Path, name: str, **parts) -> Path:
    """Make the folder of a run, or write its record anew."""
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    known = {"status": "finished", "started": "2026-11-24T12:00:00+00:00", "seed": 1}
    known |= {"model": "baseline", "dataset": DatasetOrigin(name="shapes"), "metrics": {"accuracy": 0.5}}
    known |= {"device": "cpu", "device_name": "cpu", "parameters": 10, "seconds": 1.0}
    save_record(folder, RunRecord(**{**known, **parts}))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of runs, more than are read without an index; all were written a minute ago."""
    folder = tmp_path / "runs"
    for number in range(MANY):
        write_run(folder, f"run-{number:02}", started=f"2026-11-24T12:00:{number:02}+00:00", seed=number)
    # Records that are as new as now are read each time, so that now is later.
    monkeypatch.setattr(run_index.time, "time", lambda now=time.time: now() + 60)
    return folder


def find_index() -> list[Path]:
    return sorted((zoo_home() / "cache").glob("runs-*.index"))


def tell(runs: Path) -> dict[str, tuple]:
    """Return what is listed of each run."""
    return {run.name: (run.status, run.metrics.get("accuracy"), run.find("seed")) for run in list_runs(runs)}


@pytest.fixture
def count_reads(monkeypatch: pytest.MonkeyPatch):
    """Return a function that tells how many records were read since it was last asked."""
    read, seen = zoo.records.runs.read_table, []
    monkeypatch.setattr(zoo.records.runs, "read_table", lambda path: seen.append(path) or read(path))

    def count() -> int:
        number = len(seen)
        seen.clear()
        return number

    return count


def test_only_what_changed_is_read_again(runs: Path, count_reads) -> None:
    first = tell(runs)
    assert len(first) == MANY == count_reads() and first["run-07"] == ("finished", 0.5, 7)
    assert tell(runs) == first and count_reads() == 0
    write_run(runs, "run-07", metrics={"accuracy": 0.75}, seed=7)
    write_run(runs, "another")
    (runs / "run-03" / "run.json").unlink()
    (runs / "run-05").rename(runs / "moved")
    changed = tell(runs)
    assert count_reads() == 3
    assert {*first} - {*changed} == {"run-03", "run-05"} and {*changed} - {*first} == {"another", "moved"}
    assert changed["run-07"] == ("finished", 0.75, 7) and changed["moved"] == first["run-05"]


def test_runs_come_oldest_first_whatever_their_zone_and_name(tmp_path: Path) -> None:
    starts = {"b": "2026-11-24T12:00:00+00:00", "a": "2026-11-24T13:30:00+02:00", "c": None}
    for name, started in starts.items():
        write_run(tmp_path, name, started=started)
    for name in ("same-10", "same-2", "same"):
        write_run(tmp_path, name, started="2026-11-25T00:00:00+00:00")
    assert [run.name for run in list_runs(tmp_path)] == ["c", "a", "b", "same", "same-2", "same-10"]
    assert list_runs(tmp_path / "nothing") == []


def test_a_record_that_was_written_again_within_a_tick_of_the_clock_is_seen(runs: Path, monkeypatch, count_reads):
    """Its times, its size and its number on the disk are those of the record before."""
    path = runs / "run-01" / "run.json"
    before = path.read_bytes()
    state = path.stat()
    real, own = os.stat, {}

    def stat(place, *args, **options):
        return own["state"] if own and str(place) == str(path) else real(place, *args, **options)

    monkeypatch.setattr(run_index.os, "stat", stat)
    # A clock that the listing begins less than a tick after the record was written.
    monkeypatch.setattr(run_index.time, "time", lambda: state.st_mtime + TICK - 0.5)
    assert tell(runs)["run-01"] == ("finished", 0.5, 1)
    with path.open("r+b") as file:
        file.write(before.replace(b'"accuracy": 0.5', b'"accuracy": 0.7'))
    os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    own["state"] = state
    count_reads()
    assert tell(runs)["run-01"] == ("finished", 0.7, 1)
    assert count_reads() == MANY, "all records are as new as that one"


def test_a_record_of_a_clock_that_was_put_back_is_never_trusted(runs: Path, monkeypatch, count_reads):
    monkeypatch.setattr(run_index.time, "time", lambda: (runs / "run-01" / "run.json").stat().st_mtime - 1e6)
    first = tell(runs)
    count_reads()
    assert tell(runs) == first and count_reads() == MANY


def damage(index: Path, how: str) -> None:
    data = index.read_bytes()
    if how == "missing":
        index.unlink()
    elif how == "a folder":
        index.unlink()
        index.mkdir()
    else:
        middle = len(data) // 2
        index.write_bytes(
            {
                "empty": b"",
                "cut": data[:middle],
                "a bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
                "noise": os.urandom(1000),
                "a bit at the top": data[:50] + bytes([data[50] ^ 1]) + data[51:],
                "no rows": b"zoo runs 2 83dcefb7 00000000\n1",
                "newer": data.replace(b"zoo runs 2 ", b"zoo runs 3 ", 1),
            }[how]
        )


@pytest.mark.parametrize(
    "how", ["missing", "empty", "cut", "a bit", "a bit at the top", "noise", "no rows", "newer", "a folder"]
)
def test_an_index_that_cannot_be_used_is_made_anew(runs: Path, how: str, count_reads) -> None:
    first = tell(runs)
    (index,) = find_index()
    damage(index, how)
    count_reads()
    assert tell(runs) == first and count_reads() == MANY
    if how != "a folder":
        assert tell(runs) == first and count_reads() == 0


def test_an_index_of_another_zoo_is_its_own(runs: Path, monkeypatch) -> None:
    first = tell(runs)
    (index,) = find_index()
    kept = index.read_bytes()
    monkeypatch.setattr(run_index, "__version__", "9.0")
    assert tell(runs) == first
    assert len(find_index()) == 2 and index.read_bytes() == kept


def test_a_home_that_cannot_be_written_costs_only_time(runs: Path, monkeypatch, tmp_path: Path) -> None:
    first = tell(runs)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    assert tell(runs) == first
    monkeypatch.setenv("ZOO_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert tell(runs) == first


def test_nothing_is_written_into_the_folder_of_the_runs(runs: Path) -> None:
    before = sorted(runs.rglob("*")), runs.stat().st_mtime_ns
    tell(runs)
    assert (sorted(runs.rglob("*")), runs.stat().st_mtime_ns) == before
    assert len(find_index()) == 1


def test_few_runs_need_no_index(tmp_path: Path) -> None:
    for number in range(MOST_BEHIND):
        write_run(tmp_path, f"run-{number:02}")
    assert len(tell(tmp_path)) == MOST_BEHIND and not find_index()


def test_a_record_that_cannot_be_read_is_listed_as_damaged(runs: Path) -> None:
    (runs / "run-02" / "run.json").write_bytes(b"\xff{")
    (runs / "run-03" / "run.json").unlink()
    (runs / "run-03" / "run.json").mkdir()
    (runs / "run-04" / "run.json").write_text(json.dumps({"metrics": 3}))
    for _ in range(2):
        damaged = {run.name: run.facts["error"] for run in list_runs(runs) if run.status == "damaged"}
        assert {*damaged} == {"run-02", "run-03", "run-04"} and "metrics: expected" in damaged["run-04"]


def test_what_is_running_is_looked_at_each_time(runs: Path, tmp_path: Path) -> None:
    here = describe_process()
    with subprocess.Popen([sys.executable, "-IS", "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        write_run(runs, "alive", status="running", process=replace(here, pid=process.pid, started=started), metrics={})
        write_run(runs, "gone", status="running", process=replace(here, started=1), metrics={})
        for number in range(MOST_BEHIND):  # so that these are in the index too
            write_run(runs, f"more-{number}")
        for _ in range(2):
            found = tell(runs)
            assert (found["alive"][0], found["gone"][0]) == ("running", "killed")
        process.kill()
        process.wait()
    assert tell(runs)["alive"][0] == "killed"
    elsewhere = replace(here, host="elsewhere")
    path = write_run(runs, "away", status="running", process=elsewhere, metrics={}) / "run.json"
    assert tell(runs)["away"][0] == "running"
    os.utime(path, (time.time() - 1e4,) * 2)
    assert tell(runs)["away"][0] == "unknown"


def test_a_run_that_ends_while_it_is_looked_at_is_finished(runs: Path, monkeypatch) -> None:
    gone = replace(describe_process(), started=1)
    write_run(runs, "run-01", status="running", process=gone, metrics={})
    look = zoo.records.runs.find_status

    def end(process, touched):
        write_run(runs, "run-01", metrics={"accuracy": 0.9})
        return look(process, touched)

    monkeypatch.setattr(zoo.records.runs, "find_status", end)
    assert tell(runs)["run-01"][:2] == ("finished", 0.9)


WRITE = """
import sys
from pathlib import Path
from zoo.records import run_index
from zoo.records.run_index import list_runs
from zoo.records.runs import save_table

run_index.MOST_BEHIND, run_index.TICK = 0, -3600  # the index is written at each change, and trusted at once
runs, own = Path(sys.argv[1]), sys.argv[2]
for number in range(20):
    folder = runs / f"{own}-{number}"
    folder.mkdir()
    save_table(folder, {"status": "finished", "model": "baseline", "metrics": {"accuracy": number / 20}})
    found = {run.name: run for run in list_runs(runs)}
    for known in range(number + 1):
        run = found[f"{own}-{known}"]
        assert (run.metrics["accuracy"], run.find("model")) == (known / 20, "baseline"), run
"""


@pytest.mark.promise("P9")
@pytest.mark.slow
def test_eight_processes_at_once_list_what_is_there(runs: Path, warm_python: str) -> None:
    command = [warm_python, "-c", WRITE, str(runs)]
    writers = [subprocess.Popen([*command, f"own{number}"], stderr=subprocess.PIPE) for number in range(8)]
    ended = [(writer.communicate()[1].decode(), writer.returncode) for writer in writers]
    assert ended == [("", 0)] * 8
    found = tell(runs)
    assert len(found) == MANY + 160 and found["own3-19"][:2] == ("finished", 0.95)
