"""Run folders and checkpoints that a release wrote are read, gone on with, repeated and compared by this zoo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
KNOWN = {"0.1.0": {"accuracy": 0.275, "f1-macro": 0.15811594, "loss": 1.83160981}}
"""Of each version the scores of its finished run."""


@pytest.fixture(params=sorted(path.name for path in GOLDEN.iterdir()))
def golden(request: pytest.FixtureRequest, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a copy of the golden runs of a version the folder of the runs; return the version."""
    monkeypatch.delenv("ZOO_RUNS_DIR")
    shutil.copytree(GOLDEN / request.param, "runs")
    return request.param


@pytest.mark.promise("P14")
def test_golden_runs_are_read_gone_on_with_repeated_and_compared(golden: str, capsys) -> None:
    def ask(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    known, whole = KNOWN[golden], json.loads(Path("runs/finished/run.json").read_text())
    listed = {Path(run["run"]).name: run for run in json.loads(ask("runs", "--json"))["runs"]}
    assert {name: run["status"] for name, run in listed.items()} == {"finished": "finished", "stopped": "interrupted"}
    assert listed["finished"]["metrics"] == pytest.approx(known)
    shown = json.loads(ask("runs", "show", "--json", "stopped"))
    assert shown["record"]["train_config"]["schedule"] == "cosine" and len(shown["record"]["history"]) == 2
    assert len(shown["checkpoints"]) == 1 and shown["record"]["versions"]["zoo"] == golden
    assert f"accuracy {known['accuracy']:.4f}" in ask("runs", "show", "finished")

    # A state of the third epoch: of optimizer, schedule, average, generators, choice and losses.
    forked = zoo.resume("stopped", fork=True)
    rows, first = ([{**row, "seconds": 0} for row in some] for some in (forked.history, whole["history"]))
    assert rows[:2] == first[:2] and len(rows) == len(first) == 3
    assert forked.metrics == pytest.approx(whole["metrics"], rel=1e-4)
    assert rows[2]["train"]["loss"] == pytest.approx(first[2]["train"]["loss"], rel=1e-4)

    assert zoo.load("runs/finished", verify=True).metadata["metrics"] == pytest.approx(known)
    repeated = zoo.reproduce("runs/finished")
    assert repeated.grade in ("BITWISE", "SAME METRICS")
    paths = ["runs/finished", str(forked.run), str(repeated.run)]
    assert [row.accuracy for row in zoo.compare(paths).rows] == [known["accuracy"]] * 3
    assert main(["report", *paths, "--output", "report.html"]) == 0
    assert "relu-mlp" in Path("report.html").read_text() and "left out" not in capsys.readouterr().err


@pytest.mark.promise("P14")
def test_runs_of_a_newer_zoo_are_refused_by_the_number_of_their_format(golden: str, capsys) -> None:
    """Neither is taken for damaged, and an older checkpoint does not take the place of a newer one."""
    checkpoint = next(Path("runs/stopped/checkpoints").iterdir())
    shutil.copytree(checkpoint, checkpoint.with_name("step-99999999"))
    change(checkpoint.with_name("step-99999999") / "MANIFEST.json", format=2)
    change(Path("runs/finished/run.json"), format=2)
    before = {path for path in Path("runs/stopped").rglob("*") if path.name != ".lock"}
    for words, said in (
        (["resume", "stopped"], "step-99999999 has format 2: this zoo reads up to 1. Upgrade: pip install -U"),
        (["runs", "show", "finished"], "it has format 2, and this zoo reads up to 1. Upgrade: pip install -U"),
        (["compare", "runs/finished"], "it has format 2, and this zoo reads up to 1. Upgrade: pip install -U"),
    ):
        assert main(words) == 4
        assert said in capsys.readouterr().err
    assert {path for path in Path("runs/stopped").rglob("*") if path.name != ".lock"} == before
    assert main(["runs"]) == 0 and "damaged" in capsys.readouterr().out


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_every_golden_run_is_known() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(KNOWN)
