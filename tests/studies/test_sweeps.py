"""A sweep: what it tries, what it chooses by, and that it goes on where it was stopped, killed or failed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import system_calls
from conftest import ROOT

import zoo
from zoo.cli.main import main
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.runs import read_record
from zoo.results.conclusions import describe_models
from zoo.storage.locks import lock

DATA = {"train_size": 64, "test_size": 40}
OPTIONS = [*("--dataset-param", "train_size=64", "--dataset-param", "test_size=40", "--epochs", "1"), "--validation"]
OPTIONS = [*OPTIONS, "0.25", "--batch-size", "16"]
SMALL: dict[str, Any] = {"dataset_params": DATA, "epochs": 1, "validation": 0.25, "batch_size": 16}
LOSS = """
import torch, zoo

@zoo.loss(name="poly")
def build(*, num_classes, epsilon=1.0):
    def loss(logits, targets):
        entropy = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return (entropy + epsilon * (1 - torch.exp(-entropy))).mean()
    return loss
"""
PLUGIN = """
import os, signal, torch, zoo

@zoo.model(name="odd")
def build(*, input_shape, num_classes, what="right"):
    if what == "wrong":
        raise ZeroDivisionError("no such thing")
    if what == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(torch.Size(input_shape).numel(), num_classes))

@zoo.dataset(name="validated", input_shape=(1, 4, 4), samples={"train": 40, "validation": 20, "test": 20})
def load(*, root):
    images, targets = torch.rand(80, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 2
    parts = {"train": slice(0, 40), "validation": slice(40, 60), "test": slice(60, 80)}
    splits = {name: (images[part], targets[part]) for name, part in parts.items()}
    return zoo.DataSplits(**splits, class_names=["left", "right"])
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(PLUGIN)
    return path


def digest(run: Path) -> str:
    weights = run / "weights.safetensors"
    return str(read_metadata(weights, read_header(weights).metadata).digests["tensors"])


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if not code else json.loads(printed.err.splitlines()[-1])["error"]


@pytest.mark.slow
def test_a_grid_is_tried_in_its_order_and_chosen_from_by_validation_alone(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vary = ["--vary", "lr=log:0.01..1:3", "--vary", "optimizer=sgd,adamw", *OPTIONS, "--data-dir", "my data"]
    found = ask(capsys, "sweep", *vary, "--output", "tried")
    pairs = [(lr, name) for lr in (0.01, 0.1, 1.0) for name in ("sgd", "adamw")]
    assert [(trial["point"]["lr"], trial["point"]["optimizer"]) for trial in found["trials"]] == pairs
    records = {trial["name"]: read_record(Path(trial["run"], "run.json")) for trial in found["trials"]}
    for trial in found["trials"]:
        record, run = records[trial["name"]], Path(trial["run"])
        assert (record.train_config["lr"], record.train_config["optimizer"]) == tuple(trial["point"].values())
        # Nothing but the validation split has been looked at.
        assert record.metrics == {} and not (run / "predictions.safetensors").exists()
        assert all("test" not in epoch for epoch in record.history)
        assert trial["score"] == min(epoch["validation"]["loss"] for epoch in record.history)
    best = min(found["trials"], key=lambda trial: trial["score"])
    assert found["best"] == best and not found["higher_is_better"]
    assert found["metrics"] == zoo.evaluate(best["run"]).metrics
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    # The folder is one of runs: lists and references mean its trials.
    assert {run.name for run in zoo.runs(runs_dir="tried")} == set(records)
    accurate = max(record.validation["accuracy"] or 0 for record in records.values())
    named = zoo.evaluate("@best", runs_dir="tried").weights.parent.name
    assert records[named].validation["accuracy"] == accurate
    # The command repeats the best one to the last bit.
    assert shlex.split(found["command"])[-2:] == ["--data-dir", "my data"]
    again = ask(capsys, *shlex.split(found["command"])[1:])
    assert digest(Path(again["run"])) == digest(Path(best["run"]))
    assert again["metrics"] == pytest.approx(found["metrics"])
    # In words: the table has the best one first, then what it came to.
    capsys.readouterr()
    assert main(["sweep", *vary, "--output", "tried"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1].startswith(best["name"]) and "again: zoo run --model baseline" in told.out
    assert "trial-" not in told.err  # nothing was trained again


@pytest.mark.slow
def test_what_is_drawn_depends_on_the_seed_alone_and_more_can_be_asked_for(tmp_path: Path) -> None:
    vary = {"lr": "log:1e-4..1e-1", "batch-size": "8..64", "momentum": "0..0.9"}
    told: list[zoo.SweepTrial] = []

    def draw(name: str, trials: int, seed: int) -> list[dict[str, Any]]:
        arguments = {**SMALL, "batch_size": None, "sampler_seed": seed, "output": tmp_path / name}
        found = zoo.sweep(vary=vary, trials=trials, on_trial=told.append, **arguments)
        assert {trial.status for trial in found.trials} == {"finished"}
        return [dict(trial.point) for trial in found.trials]

    first = draw("one", 3, 0)
    assert draw("other", 1, 0) == first[:1] and draw("third", 1, 1) != first[:1]
    assert len(told) == 5
    assert draw("one", 4, 0)[:3] == first and len(told) == 6
    for point in first:
        assert 1e-4 <= point["lr"] <= 1e-1 and 0 <= point["momentum"] <= 0.9
        assert isinstance(point["batch_size"], int) and 8 <= point["batch_size"] <= 64
        assert type(point["momentum"]) is float  # 0 is a whole number, but a momentum is none


WRONG = {
    ("lr=0.1,-1",): "trial lr=-1: lr: must be above 0.0, got '-1'",
    ("optimizer=sgd,adamx",): "trial optimizer=adamx: optimizer: must be one of",
    ("param.hidden_units=8,x",): "trial param.hidden_units=x: hidden_units: must be a whole number, got 'x'",
    ("param.hidden=8",): "hidden",
    ("momentum=0,0.9", "optimizer=sgd,adamw"): "trial momentum=0.9 optimizer=adamw: momentum: is a setting of sgd",
    ("model=baseline,tinyvgx",): "no model named 'tinyvgx'",
    ("epochs=0,1",): "trial epochs=0: epochs: must be at least 1",
    ("ler=0.1",): "Did you mean 'lr'?",
    ("lr",): "--vary: expected NAME=VALUE",
    ("lr=0.1,,1",): "lr has a value that is empty",
    ("lr=0.1,0.1",): "lr has a value twice",
    ("lr=0.1,1e-1",): "lr has a value twice, got 0.1",  # as a run reads them
    ("model=baseline,zoo/baseline",): "model has a value twice",
    ("lr=0.1", "lr=0.2"): "--vary names one thing twice",
    ("batch-size=8,16", "batch_size=32"): "batch_size is varied twice",
    ("momentum=0..0.9:4", "momentum=0.5"): "--vary names one thing twice",
    ("momentum=0..1:3",): "trial momentum=1: momentum: must be below 1",
    ("lr=1e-4..1e-1:999999",): "a range has from 2 to 10,000 steps",
    ("lr=0.1..1:999", "momentum=0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95"): (
        "a grid of 10,989 trials: a sweep has at most 10,000. Vary less, or draw some of them: --trials 50, --sampler"
    ),
    ("hidden_units=8",): "no setting of a run is called so, got 'hidden_units'. Name model, a setting",
    ("params.hidden_units=8",): "Did you mean 'param.hidden_units'?",
    ("device=cpu,auto",): "device cannot be varied: where a trial runs moves the last digits of scores at most",
    ("processes=1,2",): "processes cannot be varied: each trial is one process; jobs says how many",
    ("lr=1..0.1",): "a range goes from a lower number to a higher one",
    ("lr=log:0..1",): "a range of logarithms begins above 0",
    ("batch_size=0..8",): "batch_size: must be at least 1",
    ("dataset=shapes",): "dataset cannot be varied",
    ("validation=0.1,0.2",): "validation cannot be varied",
}


def test_what_is_wrong_is_told_before_the_first_trial(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for vary, said in WRONG.items():
        given = [word for one in vary for word in ("--vary", one)]
        assert main(["sweep", *given, *OPTIONS, "--output", "wrong"]) == 2, vary
        assert said in capsys.readouterr().err, vary
    options: dict[tuple[str, ...], str] = {
        ("--sampler", "grid"): "Say how many of them, log:0.01..1:4 for four, or --sampler random",
        ("--sampler", "best"): "sampler",
        ("--jobs", "0"): "jobs: must be from 1",
        ("--trials", "x"): "--trials: expected a whole number",
        ("--confirm", "1"): "one seed says nothing of a model",
        ("--budget", "soon"): "budget: must be a time",
        ("--monitor", "nothing"): "monitor: must be a score of this run",
        ("--trials", "0"): "trials: must be from 1 to 10000",
        ("--processes", "2"): "each training of it is one process, and processes=2 were asked for. Leave them out",
        ("--init", "nothing"): "no weights named 'nothing'",
    }
    for more, said in options.items():
        assert main(["sweep", "--vary", "lr=log:0.01..1", *OPTIONS, *more, "--output", "wrong"]) == 2, more
        assert said in capsys.readouterr().err, more
    assert main(["sweep", "--vary", "lr=0.1,1", "--output", "wrong"]) == 2
    assert "data set shapes has none, and the test split must not choose. Hold samples back with --validation 0.1" in (
        capsys.readouterr().err
    )
    assert not Path("wrong").exists()
    # A file of another sweep that cannot be read is no reason to begin a new one in its place.
    for text in ("[]", "{", '{"format": 2}'):
        Path("wrong").mkdir(exist_ok=True)
        Path("wrong/sweep.json").write_text(text)
        assert main(["sweep", "--vary", "lr=0.1,1", *OPTIONS, "--output", "wrong"]) == 2, text
        assert "another folder with --output" in capsys.readouterr().err, text
    # What is minimised is no score to choose by where it means another thing in each trial.
    named = ["--loss", "poly", "--vary", "loss_param.epsilon=1,2", "--monitor", "poly", "--plugin", "poly.py"]
    Path("poly.py").write_text(LOSS)
    assert main(["sweep", *named, *OPTIONS]) == 2
    assert "monitor poly cannot choose: it is what is minimised, and loss_param.epsilon makes another" in (
        capsys.readouterr().err
    )


def test_values_are_read_as_a_run_reads_them(own_folder: Path) -> None:
    expected: dict[str, tuple[Any, list[Any]]] = {
        "lr": ("0.1,1e-2", [0.1, 0.01]),
        "momentum": ("0..0.8:3", [0.0, 0.4, 0.8]),  # whole ends, and no whole numbers
        "epochs": ("log:1..9:3", [1, 3, 9]),
        "param.hidden_units": ("2..3:2", [2, 3]),
        "capture": (["yes", False], [True, False]),
        "optimizer_param.dampening": ([0, "0.5"], [0.0, 0.5]),
    }
    for name, (spec, values) in expected.items():
        arguments: dict[str, Any] = {**SMALL, "epochs": None, "budget": 1e-9, "output": name}
        waiting = zoo.sweep(vary={name: spec}, **arguments)
        found = [trial.point[name] for trial in waiting.trials]
        assert found == values and list(map(type, found)) == list(map(type, values))
        assert zoo.sweep(vary={name: values}, **arguments).left == len(values)  # the same in other words
    # A value may be a list.
    betas = {"optimizer_param.betas": [[0.9, 0.99], [0.8, 0.9]], "lr": "log:1e-4..1e-2"}
    listed = zoo.sweep(vary=betas, **SMALL, optimizer="adam", trials=2, output="lists")
    assert listed.picture is not None and [trial.status for trial in listed.trials] == ["finished"] * 2


def test_data_that_cannot_be_had_or_differ_end_a_sweep_at_once(own_folder: Path) -> None:
    told: list[zoo.SweepTrial] = []
    arguments: dict[str, Any] = {**SMALL, "dataset_params": {"test_size": 40}, "on_trial": told.append}
    with pytest.raises(zoo.DataError, match="the data of trial-001 and trial-002 differ: their scores cannot"):
        zoo.sweep(vary={"dataset_param.train_size": [60, 80, 100]}, **arguments, output="sizes")
    assert len(told) == 1  # the third was not begun
    with pytest.raises(zoo.DownloadError, match="mnist"):
        zoo.sweep(dataset="mnist", vary={"lr": [0.1, 1]}, validation=0.1, offline=True, data_dir="empty", output="none")
    assert not list(Path("none").glob("trial-*"))


def test_the_same_call_goes_on_and_another_is_refused_by_name(own_folder: Path) -> None:
    told: list[str] = []

    def stop(trial: zoo.SweepTrial) -> None:
        told.append(trial.name)
        if trial.name == "trial-002":
            raise KeyboardInterrupt

    arguments: dict[str, Any] = {**SMALL, "vary": {"lr": [0.01, 0.1, 1]}, "output": "here"}
    with pytest.raises(KeyboardInterrupt) as stopped:
        zoo.sweep(**arguments, on_trial=stop)
    assert "2 of 3 trials are finished" in stopped.value.__notes__[0]
    assert [trial.status for trial in zoo.sweep(**arguments, budget=1e-9).trials] == ["finished", "finished", "waiting"]
    first = Path("here/trial-001/weights.safetensors").stat().st_mtime_ns
    # A trial that was killed is done again; its first run stays as it was, and is told as killed.
    record = Path("here/trial-002/run.json")
    gone = {"host": os.uname().nodename, "pid": 2**22, "boot": Path("/proc/sys/kernel/random/boot_id").read_text()[:-1]}
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "running", "process": gone}))
    found = zoo.sweep(**arguments, on_trial=lambda trial: told.append(trial.name))
    assert told == ["trial-001", "trial-002", "trial-002", "trial-003"]
    assert [trial.run and trial.run.name for trial in found.trials] == ["trial-001", "trial-002-2", "trial-003"]
    assert {run.name: run.status for run in zoo.runs(runs_dir="here")}["trial-002"] == "killed"
    assert Path("here/trial-001/weights.safetensors").stat().st_mtime_ns == first
    for change, named in (
        ({"vary": {"lr": [0.01, 0.1]}}, r"vary.lr differs \('0.01, 0.1, 1' -> '0.01, 0.1'\)"),
        ({"epochs": 2}, r"run.train.epochs differs \(1 -> 2\)"),
        ({"params": {"hidden_units": 4}}, r"run.params.hidden_units differs \(10 -> 4\)"),
        ({"sampler": "random"}, r"sampler differs \('grid' -> 'random'\)"),
    ):
        with pytest.raises(zoo.UsageError, match=named):
            zoo.sweep(**{**arguments, **change})
    assert zoo.sweep(**arguments, threads=1).best == found.best  # where it runs may differ


@pytest.mark.slow
@pytest.mark.skipif(not system_calls.AVAILABLE, reason="system calls are traced on Linux on x86-64")
@pytest.mark.parametrize("sampler", ["random", pytest.param("tpe", marks=pytest.mark.nightly)])
def test_a_sweep_killed_ten_times_comes_to_what_it_would_have(warm_python: str, tmp_path: Path, sampler: str) -> None:
    script = Path(__file__).with_name("kill_sweeps.py")
    command = [warm_python, str(script), str(tmp_path), sampler]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parents[1]), os.environ["PYTHONPATH"]])}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=paths)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["codes"].count(-signal.SIGKILL) >= 8 and found["codes"][-1] == 0
    assert found["lost"] == [] and len(found["whole"]) == 4
    if sampler == "random":
        assert found["killed"] == found["whole"]
    else:  # what is suggested depends on what came to an end before
        assert len(found["killed"]) == 4
    assert len(found["attempts"]) > 4  # some were killed in a trial, not between two


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_several_processes_share_the_trials_and_outlive_one_that_dies(own_folder: Path, plugin: Path) -> None:
    arguments: dict[str, Any] = {**SMALL, "model": "odd", "plugins": [plugin]}
    told: list[str] = []
    vary = {"param.what": ["right", "deadly", "wrong", "also right"]}
    found = zoo.sweep(**arguments, vary=vary, jobs=2, output="two", on_trial=lambda trial: told.append(trial.name))
    assert [trial.status for trial in found.trials] == ["finished", "failed", "failed", "finished"]
    assert found.trials[1].why == "its process ended (signal 9: Killed)"
    assert "ZeroDivisionError: no such thing" in found.trials[2].why
    assert sorted(told) == [f"trial-00{number}" for number in range(1, 5)]
    alone = zoo.run(model="odd", params={"what": "right"}, **SMALL, plugins=[plugin])
    assert alone.best["value"] == found.trials[0].score
    with pytest.raises(zoo.ZooError, match=r"all 1 trials failed: the first one: .*ZeroDivisionError"):
        zoo.sweep(**arguments, vary={"param.what": ["wrong"]}, output="three")


class Interrupted(io.StringIO):
    """A stderr whose reader presses Ctrl-C when the first trial is told."""

    done = False

    def write(self, text: str) -> int:
        count = super().write(text)
        if text.startswith("trial-") and not self.done:
            self.done = True
            signal.raise_signal(signal.SIGINT)
        return count


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_ctrl_c_stops_all_and_says_how_to_go_on(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["sweep", *OPTIONS, "--vary", "lr=0.01..0.1:60", "--jobs", "2", "--output", "here"]
    monkeypatch.setattr(sys, "stderr", said := Interrupted())
    assert main(words) == 130
    assert "of 60 trials are finished in" in said.getvalue() and "the same command goes on" in said.getvalue()
    # Nobody works on it any more: each trial can be claimed, and none was left without a word.
    for path in Path("here/.locks").iterdir():
        with lock(path, timeout=0):
            pass
    assert {run.status for run in zoo.runs(runs_dir="here")} <= {"finished", "interrupted"}


@pytest.mark.slow
def test_a_sweep_ends_with_a_verdict_whichever_way_it_goes(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ask(capsys, "sweep", "--vary", "model=relu-mlp,baseline", *OPTIONS, "--output", "here")
    assert [trial["point"]["model"] for trial in found["trials"]] == ["relu-mlp", "baseline"]
    best = found["best"]["point"]["model"]
    # The settings without what was varied are those of the first model.
    first, other = (best, "baseline" if best == "relu-mlp" else "relu-mlp")
    words = ["--vary", f"model={first},{other}", *OPTIONS, "--confirm", "2", "--output", "same"]
    assert ask(capsys, "sweep", *words)["confirmation"]["verdict"] == ["the best trial has the default settings"]
    words = ["--vary", f"model={other},{first}", *OPTIONS, "--confirm", "2", "--output", "other"]
    confirmed = ask(capsys, "sweep", *words)["confirmation"]
    runs = [*confirmed["best"], *confirmed["default"]]
    records = [read_record(Path(run, "run.json")) for run in runs]
    assert [record.model for record in records] == [first, first, other, other]
    assert [record.seed for record in records] == [43, 44] * 2  # none of the seed that the best may owe its place to
    assert confirmed["verdict"] == describe_models(zoo.compare(runs).splits[0]) and len(confirmed["verdict"]) == 1
    # Settings that nobody would choose cannot win: the verdict is that of the default, in words too.
    capsys.readouterr()
    assert main(["sweep", "--vary", "lr=1e-9,1e-8", "--lr", "0.1", *OPTIONS, "--confirm", "2", "--output", "bad"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"baseline@shapes \(lr=0.1\) .* % \(2 seeds\), the default settings", said)
    assert re.search(r"\(2 seeds\), trial-00\d", said) and ("is better than" in said or "cannot be told apart" in said)


def test_a_data_set_of_its_own_validation_and_objects_of_this_process(
    tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = ["--model", "odd", "--dataset", "validated", "--monitor", "accuracy", "--runs-dir", str(runs)]
    found = ask(capsys, "sweep", *words, "--plugin", str(plugin), "--vary", "lr=0.01,0.1", "--epochs", "2")
    assert found["folder"] == str(runs / "sweep-odd-odd-odd-validated") and found["higher_is_better"]
    assert found["best"]["score"] == max(trial["score"] for trial in found["trials"])
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="own", factory=registry.get("model", "baseline").spec.factory), plugin="mine")
    arguments: dict[str, Any] = {**SMALL, "model": "own", "registry": registry, "vary": {"lr": [0.1]}}
    assert zoo.sweep(**arguments, output=tmp_path / "own").best is not None
    with pytest.raises(zoo.UsageError, match=r"plugin 'mine' is an object of this one\. Use jobs=1"):
        zoo.sweep(**arguments, output=tmp_path / "own", jobs=2)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_the_guide_shows_what_works(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_RUNS_DIR", "runs")
    page = (ROOT / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
    section = page[page.index("## A sweep") :]
    section = section[: section.find("\n## ", 5)] if "\n## " in section[5:] else section
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    train, *looks = [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]
    assert train[0] == "sweep" and len(looks) == 5
    looks[0] = [*looks[0], *OPTIONS, "--confirm", "2"]
    looks[1] = [*looks[1], *OPTIONS, "--trials", "2"]
    shorter = [*train, *OPTIONS, "--trials", "2", "--confirm", "2"]
    assert main(shorter) == 0
    for look in looks:
        assert main(look) == 0, look
    code = re.search(r"^```python\n(.*?)^```$", section, re.M | re.S)
    assert code is not None
    small = code[1].replace("trials=10", f"trials=2, output='other', **{SMALL}").replace("validation=0.1, ", "")
    capsys.readouterr()
    exec(small, {})
    assert "accuracy" in capsys.readouterr().out
