"""Trials that Optuna suggests: one after the other and after a kill, and those that it ends early."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution

import zoo
from zoo.cli.main import main
from zoo.records.runs import read_record

SMALL: dict[str, Any] = {
    "dataset_params": {"train_size": 64, "test_size": 40},
    "epochs": 3,
    "validation": 0.25,
    "batch_size": 16,
}
OPTIONS = ["--validation", "0.25", "--epochs", "1"]


@pytest.mark.slow
def test_optuna_suggests_trials_and_ends_hopeless_ones_by_validation(own_folder: Path) -> None:
    arguments: dict[str, Any] = {
        **SMALL,
        "epochs": 3,
        "sampler": "tpe",
        "vary": {"lr": "log:1e-6..1"},
        "output": "here",
    }
    first = zoo.sweep(**arguments, trials=6)
    again = zoo.sweep(**{**arguments, "output": "other"}, trials=3)
    assert [trial.point for trial in again.trials] == [trial.point for trial in first.trials[:3]]
    assert len({trial.point["lr"] for trial in first.trials}) == 6 and first.left == 0
    # What was dead when the journal was read is told as failed, and tried again with the values that it had.
    record = Path("here/trial-002/run.json")
    gone = {"host": os.uname().nodename, "pid": 2**22, "boot": Path("/proc/sys/kernel/random/boot_id").read_text()[:-1]}
    with open_study("here") as study:
        dead = study.ask({"lr": FloatDistribution(1e-6, 1, log=True)})
    shutil.copytree("here/trial-002", "here/trial-007")
    told = {**json.loads(record.read_text()), "status": "running", "process": gone}
    Path("here/trial-007/run.json").write_text(json.dumps(told))
    more = zoo.sweep(**arguments, trials=7)
    assert [trial.status for trial in more.trials] == [*["finished"] * 6, "killed", "finished"]
    assert more.trials[7].point == more.trials[6].point == {"lr": float(f"{dead.params['lr']:.4g}")}
    with open_study("here") as study:
        states = [trial.state.name for trial in study.trials]
        assert states == [*["COMPLETE"] * 6, "FAIL", "COMPLETE"]
        assert [trial.value for trial in study.trials[:6]] == [trial.score for trial in first.trials]
    # A process that is killed while it asks leaves a trial without its values, which is nobody's.
    with open_study("here") as study:
        study.ask()
    assert zoo.sweep(**arguments, trials=7).trials == more.trials
    # A line that was cut off is no reason to lose the others, and the next one is not added to it.
    journal = Path("here/journal.log")
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert zoo.sweep(**arguments, trials=7).trials == more.trials == zoo.sweep(**arguments, trials=7).trials
    # The journal alone says what each trial was told.
    whole = journal.read_bytes()
    for damage, said in ((b"garbage\n" + whole, "is damaged"), (None, "is gone: it alone says what each trial")):
        journal.write_bytes(damage) if damage else journal.unlink()
        with pytest.raises(zoo.StorageError, match=f"journal.log {said}"):
            zoo.sweep(**arguments, trials=7)
    # Where half of the trials are hopeless, some are ended before their last epoch, for their score on validation.
    hopeless = zoo.sweep(**{**arguments, "output": "pruned"}, prune=True, trials=10)
    ended = [trial for trial in hopeless.trials if trial.status == "pruned"]
    assert ended and hopeless.best is not None and hopeless.best.status == "finished"
    for trial in ended:
        assert trial.run is not None and trial.score is None and "worse than half of the trials" in trial.why
        kept = read_record(trial.run / "run.json")
        assert len(kept.history) < 3 and "test" not in kept.history[-1] and kept.metrics == {}
        value = kept.history[-1]["validation"]["loss"]
        assert f"validation loss {value:.4f}" in trial.why
        others = [
            read_record(each.run / "run.json") for each in hopeless.trials if each.run and each.status == "finished"
        ]
        assert value > min(other.best["value"] for other in others)
    assert {run.status for run in zoo.runs(runs_dir="pruned", status="pruned")} == {"pruned"}
    assert len(zoo.sweep(**{**arguments, "output": "pruned"}, prune=True, trials=10).trials) == 10  # none is done again
    with pytest.raises(zoo.SettingError, match="Give sampler='tpe', too"):
        zoo.sweep(**{**arguments, "sampler": "random"}, prune=True)


@contextmanager
def open_study(folder: str) -> Iterator[optuna.Study]:
    """Give the study of a sweep as Optuna itself reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        backend = optuna.storages.journal.JournalFileBackend(str(Path(folder, "journal.log")))
        yield optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))


def test_without_optuna_its_command_is_said(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["sweep", *OPTIONS, "--vary", "lr=0.1..1", "--sampler", "tpe", "--output", "none"]) == 2
    assert "suggested trials need optuna" in (said := capsys.readouterr().err)
    assert "Install it: pip install 'zoo-torch[sweep]'" in said and not Path("none").exists()
