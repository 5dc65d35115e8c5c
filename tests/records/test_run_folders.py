"""Runs are found by name, renamed, removed and cleaned, and nothing else is touched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.models.references import find_weights
from zoo.records import removals, run_names
from zoo.records.process import describe_process
from zoo.records.run_index import list_runs
from zoo.records.run_names import find_run
from zoo.records.runs import read_table, save_table
from zoo.registry.places import open_places
from zoo.storage import creation, removal
from zoo.storage.locks import lock

GONE = 2**22 + 1
"""A number that no process has."""


def write_run(runs: Path, name: str, *, weights: bool = True, checkpoints: int = 0, **parts) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(
        json.dumps({"status": "finished", "started": "2026-11-24T12:00:00+00:00", **parts})
    )
    if weights:
        (folder / "weights.safetensors").write_bytes(b"weights")
    for step in range(1, checkpoints + 1):
        place = folder / "checkpoints" / f"step-{step:08}"
        place.mkdir(parents=True)
        (place / "MANIFEST.json").write_text("{}")
        (place / "state.json").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder, "20261124-one")
    write_run(folder, "20261124-two", started="2026-11-24T13:00:00+00:00")
    write_run(folder, "20261125-three", status="failed", weights=False, started="2026-11-25T12:00:00+00:00")
    return folder


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def age(path: Path, seconds: float = 25 * 3600) -> Path:
    os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)
    return path


def test_a_run_is_found_by_folder_name_beginning_and_last(runs: Path, tmp_path: Path) -> None:
    one = runs / "20261124-one"
    assert [find_run(given, runs) for given in (one, str(one), "20261124-one", "20261124-o")] == [one] * 4
    assert find_run("20261125", runs).name == "20261125-three"
    # Of runs that is the newest one, of weights the newest finished one.
    assert find_run("@last", runs) == runs / "20261125-three"
    assert find_weights("@last", open_places(None, runs_dir=runs)).parent == runs / "20261124-two"
    write_run(runs, "20261124")  # a whole name wins over those that begin with it
    assert find_run("20261124", runs) == runs / "20261124"
    elsewhere = write_run(tmp_path, "20261124-one")
    with contextlib.chdir(tmp_path):
        assert find_run("20261124-one", runs) == Path(elsewhere.name)
    with contextlib.chdir(elsewhere):
        assert find_run(".", runs) == Path()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("20261124", "'20261124' is no single run: 2 runs begin so: 20261124-one, 20261124-two. Give more of its name"),
        ("20261124-on3", "no run '20261124-on3' in {runs}. Did you mean '20261124-one'?"),
        ("last", "no run 'last' in {runs}. Did you mean '@last'?"),
        ("xyzzy", "no run 'xyzzy' in {runs}. See: zoo runs"),
        ("", "no run '' in {runs}. See: zoo runs"),
        ("x" * 5000, "no run 'xxx"),
        ("~nobody/x", "no run '~nobody/x' in"),
    ],
)
def test_what_is_no_run_is_said(runs: Path, given: str, said: str) -> None:
    for call in (zoo.runs_show, zoo.runs_remove, lambda run, **places: zoo.runs_rename(run, "new", **places)):
        with pytest.raises(zoo.UsageError) as caught:
            call(given, runs_dir=runs)
        assert str(caught.value).startswith(said.format(runs=runs))
    with pytest.raises(zoo.UsageError, match=r"no run 'x' in .*nothing: .*nothing has no run"):
        find_run("x", runs / "nothing")


@pytest.mark.promise("P7")
def test_a_removed_run_is_gone_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    one = runs / "20261124-one"
    (one / "link").symlink_to(outside)
    (one / "checkpoints").symlink_to(outside)
    before = list_files(tmp_path)
    with pytest.raises(zoo.UsageError, match=r"nothing was removed: 1 run, \d+ bytes: 20261124-one \(finished, with"):
        zoo.runs_remove("20261124-one", runs_dir=runs)
    assert list_files(tmp_path) == before
    (gone,) = zoo.runs_remove("20261124-one", yes=True, runs_dir=runs)
    assert (gone.path, gone.what) == (one, "finished, with weights")
    assert gone.size >= len(b"weights") and {path for path in before if "20261124-one" not in path} == list_files(
        tmp_path
    )


@pytest.mark.promise("P7")
def test_of_a_run_that_is_a_link_the_link_goes(runs: Path, tmp_path: Path) -> None:
    real = write_run(tmp_path / "disk", "real")
    (runs / "linked").symlink_to(real)
    (real / "large").write_bytes(b"x" * 10_000)
    (gone,) = zoo.runs_remove("linked", yes=True, runs_dir=runs)
    assert gone.what == "a link" and gone.size < 1000
    assert list_files(real) == {"run.json", "weights.safetensors", "large"} and not (runs / "linked").is_symlink()
    (runs / "linked").symlink_to(real)
    assert zoo.runs_rename("linked", "other", runs_dir=runs).readlink() == real


def test_runs_of_other_folders_stay(runs: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", "run")
    inner = write_run(runs / "20261124-one", "inner")
    for run in (other, inner, f"{runs}/20261124-one/../../other/run"):
        with pytest.raises(zoo.UsageError, match=r"is not in .*only runs of that folder are removed. Give runs_dir="):
            zoo.runs_remove(run, yes=True, runs_dir=runs)
        with pytest.raises(zoo.UsageError, match="only runs of that folder are renamed"):
            zoo.runs_rename(run, "new", runs_dir=runs)
    assert other.is_dir() and inner.is_dir()
    # The folder of the runs may be a link, and its runs be named through either path.
    (tmp_path / "link").symlink_to(runs)
    zoo.runs_remove(runs / "20261124-two", yes=True, runs_dir=tmp_path / "link")
    assert not (runs / "20261124-two").exists()


def test_a_run_whose_process_lives_is_left_alone(runs: Path) -> None:
    here = json.loads(json.dumps(vars(describe_process())))
    alive = write_run(runs, "alive", status="running", process=here, weights=False)
    write_run(runs, "dead", status="running", process={**here, "started": 1}, weights=False)
    with pytest.raises(zoo.StorageError, match="run 'alive' is running: only runs that have ended are removed"):
        zoo.runs_remove(["dead", "20261124-one", "alive"], yes=True, runs_dir=runs)
    assert (runs / "dead").is_dir() and (runs / "20261124-one").is_dir()
    with pytest.raises(zoo.StorageError, match="only runs that have ended are renamed"):
        zoo.runs_rename("alive", "new", runs_dir=runs)
    assert {each.path.name for each in zoo.runs_clean(runs_dir=runs)} == {"dead", "20261125-three"}
    zoo.runs_remove("dead", yes=True, runs_dir=runs)
    assert alive.is_dir() and not (runs / "dead").exists()


def test_a_run_that_is_about_to_go_on_is_left_alone(runs: Path) -> None:
    (runs / "20261124-two" / ".lock").touch()
    with lock(runs / "20261124-one" / ".lock", timeout=0):
        for call in (zoo.runs_remove, lambda run, yes, **places: zoo.runs_rename(run, "new", **places)):
            with pytest.raises(zoo.StorageError, match="run '20261124-one' is in use"):
                call("20261124-one", yes=True, runs_dir=runs)
    with lock(runs / "20261125-three" / ".lock", timeout=0):
        assert zoo.runs_clean(yes=True, runs_dir=runs) == ()
    assert [each.path.name for each in zoo.runs_clean(runs_dir=runs)] == ["20261125-three"]
    zoo.runs_remove(["20261124-one", "20261124-two"], yes=True, runs_dir=runs)
    assert [run.name for run in list_runs(runs)] == ["20261125-three"]


@pytest.mark.parametrize("call", ["remove", "rename", "clean"])
def test_no_process_goes_on_with_a_run_while_it_is_changed(runs: Path, call: str, monkeypatch) -> None:
    run = runs / ("20261125-three" if call == "clean" else "20261124-one")
    tried = list[str]()

    def resume(act: Callable[..., Any], *args: Any) -> Any:
        with pytest.raises(zoo.StorageError, match="another process resumes it"):
            zoo.resume(run, runs_dir=runs)
        tried.append(call)
        return act(*args)

    acts = (removals, "remove"), (run_names, "rename_folder")
    for module, name in acts:
        monkeypatch.setattr(module, name, partial(resume, getattr(module, name)))
    monkeypatch.setattr(import_module("zoo.training.resume"), "ORPHANS", 0)
    if call == "remove":
        zoo.runs_remove(run, yes=True, runs_dir=runs)
    elif call == "rename":
        zoo.runs_rename(run, "new", runs_dir=runs)
    else:
        zoo.runs_clean(yes=True, runs_dir=runs)
    assert tried == [call] and not run.exists()


KILL = """
import os, signal, sys
from pathlib import Path
from zoo.storage import creation, removal

def halt(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

removal.shutil.rmtree = halt
removal.remove(Path(sys.argv[1]))
"""


@pytest.mark.promise("P1")
def test_a_removal_that_is_killed_leaves_no_half_run(runs: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILL, runs / "20261124-one"], check=False)
    assert done.returncode == -signal.SIGKILL
    (part,) = (path for path in runs.iterdir() if path.name.startswith(".20261124-one."))
    assert list_files(part) == {"run.json", "weights.safetensors"}
    assert [run.name for run in list_runs(runs)] == ["20261124-two", "20261125-three"]
    assert part not in {each.path for each in zoo.runs_clean(runs_dir=runs)}, "another machine may be removing it"
    age(part)
    assert {each.path for each in zoo.runs_clean(yes=True, runs_dir=runs)} == {part, runs / "20261125-three"}
    assert {path.name for path in runs.iterdir()} == {"20261124-two"}


def test_a_run_that_cannot_be_removed_is_told(runs: Path, monkeypatch) -> None:
    def fail(*args, **options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(removal.os, "access", lambda *args: False)
        with pytest.raises(zoo.StorageError, match=r"cannot remove .*20261124-one: nothing in it may be removed"):
            zoo.runs_remove("20261124-one", yes=True, runs_dir=runs)
    assert (runs / "20261124-one" / "run.json").is_file()
    monkeypatch.setattr(removal.shutil, "rmtree", fail)
    with pytest.raises(zoo.StorageError, match=r"cannot remove .*\.20261124-one\..*\.part: Permission denied"):
        zoo.runs_remove("20261124-one", yes=True, runs_dir=runs)


def test_a_renamed_run_is_found_by_all_that_named_it(runs: Path, own_folder: Path) -> None:
    named = {
        "absolute": runs / "20261124-one" / "weights.safetensors",
        "relative": Path("runs/20261124-one/weights.safetensors"),
        "other": Path("elsewhere/20261124-one/weights.safetensors"),
        "near": runs / "20261124-one-2" / "weights.safetensors",
    }
    for name, path in named.items():
        went_on = [{"step": 3, "of": str(path.parent)}, {"step": 4}]
        write_run(runs, name, init={"path": str(path), "digest": "0"}, resumed=went_on, later={"zoo": "of a newer zoo"})
    write_run(runs, "damaged")
    (runs / "damaged" / "run.json").write_text('["20261124-one"]')
    of_a_stranger = write_run(runs, "stranger", resumed={"20261124-one": [3]}, init=[5])
    assert zoo.runs_rename("20261124-one", "good", runs_dir=runs) == runs / "good"
    assert not (runs / "20261124-one").exists() and (runs / "good" / "weights.safetensors").is_file()
    records = {name: json.loads((runs / name / "run.json").read_text()) for name in named}
    moved = {"absolute": runs / "good" / "weights.safetensors", "relative": Path("runs/good/weights.safetensors")}
    assert {name: Path(record["init"]["path"]) for name, record in records.items()} == named | moved
    assert {name: Path(record["resumed"][0]["of"]).name for name, record in records.items()} == {
        **{name: path.parent.name for name, path in (named | moved).items()}
    }
    assert json.loads((of_a_stranger / "run.json").read_text())["resumed"] == {"20261124-one": [3]}
    assert all(record["later"] == {"zoo": "of a newer zoo"} for record in records.values())
    assert find_run("good", runs) == runs / "good" and [run.name for run in list_runs(runs)].count("good") == 1
    assert zoo.runs_rename("good", "good", runs_dir=runs) == runs / "good"


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "/tmp/x",
        "-x",
        "@last",
        "a@b",
        "a:b",
        "con",
        "a ",
        "x\ny",
        "x" * 300,
        "~x",
    ],
)
def test_a_name_that_cannot_be_one_is_refused(runs: Path, name: str) -> None:
    before = list_files(runs.parent)
    with pytest.raises(zoo.SettingError, match="name: expected a name that every system gives a folder"):
        zoo.runs_rename("20261124-one", name, runs_dir=runs)
    assert list_files(runs.parent) == before


@pytest.mark.parametrize("is_known", [True, False], ids=["renamed in one call", "in two"])
def test_a_name_that_is_taken_is_refused(runs: Path, monkeypatch, is_known: bool) -> None:
    """Also by a process that takes it meanwhile, and where the system cannot refuse by itself."""
    if not is_known:
        monkeypatch.setattr(creation, "_rename_exclusively", lambda *_: False)
    (runs / "empty").mkdir()
    (runs / "file").write_text("kept")
    (runs / "link").symlink_to("nowhere")
    one, follow = runs / "20261124-one", run_names._follow
    (one / ".lock").touch()
    forked = write_run(runs, "forked", init={"path": str(one / "weights.safetensors"), "digest": "0"})
    save_table(forked, read_table(forked / "run.json"))
    before = {path: path.is_file() and path.read_text() for path in runs.rglob("*")}
    for name in ("20261124-two", "empty", "file", "link"):
        with pytest.raises(zoo.UsageError, match=f"{name} is there already. Give another name"):
            zoo.runs_rename("20261124-one", name, runs_dir=runs)

    def take(run: Path, old: Path, new: Path) -> bool:
        (runs / "late").mkdir(exist_ok=True)
        return follow(run, old, new)

    with monkeypatch.context() as patch:
        patch.setattr(run_names, "_follow", take)
        with pytest.raises(zoo.UsageError, match=r"late is there already\. Give another name"):
            zoo.runs_rename("20261124-one", "late", runs_dir=runs)
    (runs / "late").rmdir()
    assert {path: path.is_file() and path.read_text() for path in runs.rglob("*")} == before
    (runs / "empty").rmdir()
    zoo.runs_rename("20261124-one", "empty", runs_dir=runs)
    assert list_files(runs / "empty") == {"run.json", "weights.safetensors", ".lock"} and not one.exists()
    (runs / "way").symlink_to(runs / "empty")
    assert zoo.runs_rename("way", "path", runs_dir=runs).is_symlink()


def test_what_runs_have_left_behind_is_listed_and_removed(runs: Path, tmp_path: Path) -> None:
    finished = write_run(runs, "finished", checkpoints=2)
    stopped = write_run(runs, "stopped", status="interrupted", checkpoints=2, weights=False)
    part = f".weights.safetensors.{GONE}-01234567.part"
    old = [age(write(folder / part)) for folder in (runs, finished, stopped, stopped / "checkpoints" / "step-00000001")]
    live = age(write(runs / f".run.json.{os.getpid()}-01234567.part"))
    young = write(runs / f".young.{GONE}-01234567.part")
    write_run(runs, "kept", status="failed")
    write_run(runs, "killed", status="running", weights=False, process={**vars(describe_process()), "started": 1})
    age(runs / "killed" / "run.json")
    (runs / "made").mkdir()
    age(runs / "made")
    (runs / "just made").mkdir()
    outside = write_run(tmp_path / "outside", "failed", status="failed", weights=False, checkpoints=0)
    (runs / "linked").symlink_to(outside)
    before = list_files(tmp_path)
    found = {str(each.path.relative_to(runs)): each for each in zoo.runs_clean(runs_dir=runs)}
    steps = [f"finished/checkpoints/step-0000000{step}" for step in (1, 2)]
    gone = {*steps, *(str(path.relative_to(runs)) for path in old), "20261125-three", "killed", "made"}
    assert {*found} == gone and list_files(tmp_path) == before
    assert (found[steps[0]].size, found[steps[0]].what) == (1002, "checkpoint, run finished")
    assert found["killed"].what == "killed, no weights" and found["20261125-three"].what == "failed, no weights"
    assert [*zoo.runs_clean(yes=True, runs_dir=runs)] == [*found.values()]
    left = {path for path in before if not any(path.startswith(f"runs/{name}") for name in gone)}
    left |= {"runs/finished/.lock", "runs/stopped/.lock"}
    assert list_files(tmp_path) == left and live.is_file() and young.is_file() and outside.is_dir()
    assert zoo.runs_clean(runs_dir=runs) == () == zoo.runs_clean(runs_dir=tmp_path / "nothing")


def write(path: Path) -> Path:
    path.write_bytes(b"part")
    return path


@pytest.mark.promise("P7")
def test_checkpoints_that_links_lead_to_stay(runs: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", "run", checkpoints=1)
    (runs / "20261124-one" / "checkpoints").symlink_to(other / "checkpoints")
    own = runs / "20261124-two" / "checkpoints"
    own.mkdir()
    (own / "step-00000001").symlink_to(other / "checkpoints" / "step-00000001")
    before = list_files(other)
    assert [each.path.name for each in zoo.runs_clean(yes=True, runs_dir=runs)] == ["20261125-three"]
    assert list_files(other) == before


def test_a_card_says_what_a_person_wants_to_know(tmp_path: Path) -> None:
    result = zoo.run(epochs=2, dataset_params={"train_size": 64, "test_size": 20}, validation=0.25, runs_dir=tmp_path)
    write_run(tmp_path, "other", checkpoints=0)
    (result.run / "checkpoints" / "step-00000004").mkdir(parents=True)
    (result.run / "checkpoints" / "step-00000004" / "MANIFEST.json").write_text("{}")
    card = zoo.runs_show(result.run.name, runs_dir=tmp_path)
    rows = dict(card.rows)
    assert card.title == f"{result.run}: run of baseline on shapes"
    assert rows["status"] == "finished" and rows["epochs"] == "2"
    assert rows["test"] == f"accuracy {result.metrics['accuracy']:.4f}, loss {result.metrics['loss']:.4f}"
    assert rows["repeat with"].startswith("zoo run --model baseline --dataset shapes ")
    assert rows["checkpoints"] == "step-00000004, 2 bytes"
    assert card.data["files"]["weights.safetensors"] == result.weights.stat().st_size
    assert card.data["record"]["metrics"] == result.metrics and card.data["checkpoints"] == {"step-00000004": 2}
    failed = write_run(
        tmp_path, "failed", status="failed", weights=False, error="it rained", train_config={"epochs": 3}
    )
    rows = dict(zoo.runs_show(failed).rows)
    assert (rows["status"], rows["error"], rows["epochs"]) == ("failed", "it rained", "0 of 3")
    assert "go on with" not in rows and "go on with" not in dict(card.rows)
    stopped = write_run(tmp_path, "a stopped one", status="interrupted", checkpoints=1)
    assert dict(zoo.runs_show(stopped).rows)["go on with"] == f"zoo resume '{stopped}'"
    (failed / "run.json").write_text("{")
    with pytest.raises(zoo.WeightsError, match="cannot be used as the record of a run"):
        zoo.runs_show(failed)
    assert zoo.runs_remove("failed", yes=True, runs_dir=tmp_path)[0].what == "damaged, no weights"
