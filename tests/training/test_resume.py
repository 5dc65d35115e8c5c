"""Resume: a run that was killed or stopped comes to the very bits of one that was not, and says what it cannot do."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import kill_and_resume
import pytest
import torch

import zoo
from zoo.cli.main import main
from zoo.records.runs import read_record
from zoo.training import pauses, resume
from zoo.training.checkpoint import find_checkpoint, list_checkpoints
from zoo.training.interval import Interval, read_interval

SCRIPT = Path(__file__).with_name("kill_and_resume.py")
OPTIONS = {"dataset_params": {"train_size": 200}, "epochs": 3, "batch_size": 20, "threads": 1, "momentum": 0.9}


def run_script(python: str, folder: Path, *arguments: object) -> dict[str, list[object]]:
    done = subprocess.run([python, SCRIPT, folder, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PARTS = 10
"""Of each nightly case: one can be run alone, `-k part3`, and several at once."""


def nightly(kills, data, workers):
    names = [f"{kills}-{data}-{workers}-part{part}" for part in range(PARTS)]
    return [
        pytest.param(kills, data, workers, part, PARTS, marks=pytest.mark.nightly, id=name)
        for part, name in enumerate(names)
    ]


@pytest.mark.promise("P2")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "data", "workers", "part", "parts"),
    [
        (20, "plain", 0, 0, 1),
        (8, "replayed", 0, 0, 1),
        (6, "drawn", 0, 0, 1),
        (6, "drawn", 2, 0, 1),
        (4, "stream", 0, 0, 1),
        (4, "stream", 2, 0, 1),
        (4, "shards", 0, 0, 1),
        (4, "shards", 2, 0, 1),
        *nightly(1000, "plain", 0),
        *nightly(200, "replayed", 0),
        *nightly(200, "drawn", 2),
    ],
)
def test_killed_anywhere_and_resumed_is_never_killed(tmp_path, warm_python, kills, data, workers, part, parts):
    """Dropout, BatchNorm, augmentation, a schedule with warm-up, EMA, accumulation and early stopping are in play.

    These are more than 50 kills; where steps are replayed, a thread copies the state.

    Kills come at steps, in evaluations, between epochs, and at each call that brings a checkpoint to the disk.
    """
    found = run_script(warm_python, tmp_path, kills, data, workers, part, parts)
    whole = found.pop("whole")
    kills //= parts
    assert len(found) >= kills // 3 and sum(len(json.loads(told)) - 1 for told in found) >= kills // 2
    for told, came_to in found.items():
        assert came_to == whole, told


@pytest.fixture
def stop_at(monkeypatch):
    """Let trainings end as by a signal at the given step or batch of an evaluation, counted from 1 on.

    An epoch has ten steps and four batches, so that 17 is the thirteenth step.
    """

    def choose(step):
        seen, look = [0], pauses.Pauses.look

        def stop(self):
            seen[0] += 1
            if seen[0] == step:
                self.stopping = signal.SIGINT
            look(self)

        monkeypatch.setattr(pauses.Pauses, "look", stop)

    yield choose


def begin(runs, stop_at, step=17, **options):
    """Return the folder of a run that was stopped."""
    stop_at(step)
    with pytest.raises(KeyboardInterrupt) as caught:
        zoo.run("relu-mlp", "shapes", runs_dir=runs, **{**OPTIONS, **options})
    stop_at(0)
    folder = max(runs.iterdir())
    assert f"zoo resume {folder}" in " ".join(caught.value.__notes__)
    return folder


def drop_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


@pytest.mark.promise("P2")
def test_a_stopped_run_says_how_it_goes_on_and_does(tmp_path, stop_at):
    whole = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "whole", **OPTIONS)
    folder = begin(tmp_path / "runs", stop_at)
    assert read_record(folder / "run.json").status == "interrupted"
    seen = []
    found = zoo.resume(folder, on_epoch=lambda epoch: seen.append(epoch["epoch"]))
    assert found.run == folder and found.metrics == whole.metrics
    assert drop_seconds(found.history) == drop_seconds(whole.history)
    assert (folder / "weights.safetensors").read_bytes() == whole.weights.read_bytes()
    rows = [(path / "history.csv").read_text().splitlines() for path in (folder, whole.run)]
    ours, theirs = ([line.rpartition(",")[0] for line in lines] for lines in rows)
    assert ours == theirs
    record = read_record(folder / "run.json")
    assert record.status == "finished" and record.error is None
    assert [entry["changed"] for entry in record.resumed] == [[]]
    assert seen == [2, 3]


@pytest.mark.promise("P2")
def test_a_checkpoint_that_was_copied_while_the_training_went_on_is_exact(tmp_path, stop_at):
    options = {**OPTIONS, "dataset_params": {"train_size": 1400}, "checkpoint_every": "7 steps"}
    whole = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "whole", **options)
    folder = begin(tmp_path / "runs", stop_at, step=50, **options)
    shutil.rmtree(list_checkpoints(folder)[0])  # that of the stop, which was copied at once
    assert find_checkpoint(folder).step == 49
    found = zoo.resume(folder)
    assert drop_seconds(found.history) == drop_seconds(whole.history)
    assert found.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.promise("P2")
def test_an_evaluation_that_was_stopped_begins_again_with_the_numbers_that_it_drew(tmp_path, stop_at):
    registry = zoo.Registry.discover()
    registry.add(
        zoo.ModelSpec(name="net", factory=kill_and_resume.Net),
        zoo.DatasetSpec(name="noise", factory=kill_and_resume.make_splits),
        plugin="own",
    )
    asked = {"dataset_params": {"data": "drawn"}, "registry": registry, **kill_and_resume.SETTINGS}
    whole = zoo.run("net", "noise", runs_dir=tmp_path / "whole", **asked)
    batches = read_record(whole.run / "run.json").steps * asked["accumulate"]
    stop_at(2 * (batches + 1))  # the first evaluation has a batch that was read before the training
    with pytest.raises(KeyboardInterrupt):
        zoo.run("net", "noise", runs_dir=tmp_path / "runs", **asked)
    stop_at(0)
    folder = max((tmp_path / "runs").iterdir())
    assert find_checkpoint(folder).step == 2 * batches and len(read_record(folder / "run.json").history) == 1
    found = zoo.resume(folder, registry=registry)
    assert drop_seconds(found.history) == drop_seconds(whole.history)
    assert found.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.promise("P2")
def test_a_run_that_was_killed_after_its_last_epoch_has_the_predictions_of_its_last_evaluation(tmp_path):
    """The data set draws anew each time that it is read, and no split is held back to choose an epoch."""
    registry = zoo.Registry.discover()
    registry.add(
        zoo.ModelSpec(name="net", factory=kill_and_resume.Net),
        zoo.DatasetSpec(name="noise", factory=kill_and_resume.make_splits),
        plugin="own",
    )
    asked = {**kill_and_resume.SETTINGS, "validation": None, "patience": None, "checkpoint_every": "1 epoch"}
    run = zoo.run("net", "noise", dataset_params={"data": "drawn"}, registry=registry, runs_dir=tmp_path, **asked)
    names = ("weights.safetensors", "predictions.safetensors")
    files = [(run.run / name).read_bytes() for name in names]
    for name in names:
        (run.run / name).unlink()
    edit(run.run, status="interrupted")
    with pytest.raises(zoo.UsageError, match="epochs: must be at least the 3 that are done, got 0"):
        zoo.resume(run.run, registry=registry, epochs=0)
    again = zoo.resume(run.run, registry=registry)
    assert again.metrics == run.metrics and again.history == run.history
    assert [(run.run / name).read_bytes() for name in names] == files


def test_a_finished_run_is_left_as_it_is(tmp_path, caplog):
    run = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in run.run.iterdir()}
    caplog.set_level("INFO", "zoo")
    again = zoo.resume("@last", runs_dir=tmp_path)
    assert "already finished: 3 of 3 epochs" in caplog.text
    assert again.metrics == run.metrics and again.weights == run.weights
    assert before == {path: path.stat().st_mtime_ns for path in run.run.iterdir() if path.name != ".lock"}


@pytest.mark.promise("P2")
def test_more_epochs_are_those_of_a_longer_run(tmp_path):
    longer = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "longer", **{**OPTIONS, "epochs": 5})
    short = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "runs", checkpoint_every="1 epoch", **OPTIONS)
    grown = zoo.resume(short.run, epochs=5)
    assert drop_seconds(grown.history) == drop_seconds(longer.history)
    assert grown.weights.read_bytes() == longer.weights.read_bytes()
    with pytest.raises(zoo.UsageError, match="at least the 5 that are done"):
        zoo.resume(short.run, epochs=4)


@pytest.mark.promise("P2")
def test_fewer_epochs_are_those_of_a_shorter_run_and_none_that_was_begun_is_left_out(tmp_path, stop_at):
    shorter = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "shorter", **{**OPTIONS, "epochs": 1})
    folder = begin(tmp_path / "runs", stop_at, checkpoint_every="1 epoch")
    with pytest.raises(zoo.UsageError, match="at least the 1 that are done and the one that was begun, got 1"):
        zoo.resume(folder, epochs=1)
    shutil.rmtree(list_checkpoints(folder)[0])
    found = zoo.resume(folder, epochs=1)
    assert found.metrics == shorter.metrics and found.weights.read_bytes() == shorter.weights.read_bytes()
    predictions = [(run / "predictions.safetensors").read_bytes() for run in (folder, shorter.run)]
    assert predictions[0] == predictions[1]


@pytest.mark.promise("P2")
def test_epochs_do_not_grow_where_rates_depend_on_them(tmp_path, stop_at):
    folder = begin(tmp_path, stop_at, schedule="cosine")
    with pytest.raises(zoo.UsageError, match="cosine schedule belong to 3 epochs") as caught:
        zoo.resume(folder, epochs=4)
    assert "fork=True" in caught.value.fix


@pytest.mark.promise("P2")
def test_a_fork_is_a_new_run_from_the_state(tmp_path, stop_at):
    whole = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "whole", **OPTIONS)
    folder = begin(tmp_path / "runs", stop_at)
    before = (folder / "run.json").read_bytes()
    forked = zoo.resume(folder, fork=True, runs_dir=tmp_path / "runs")
    assert forked.run != folder and (folder / "run.json").read_bytes() == before
    assert forked.metrics == whole.metrics
    assert read_record(forked.run / "run.json").resumed[0]["of"] == str(folder)
    # Where nothing can be written beside the run it is the way to go on.
    (folder / ".lock").mkdir()
    with pytest.raises(zoo.StorageError, match=r"cannot lock .*fork=True and runs_dir="):
        zoo.resume(folder)


@pytest.mark.promise("P2", "P11")
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "linear"])
def test_a_fork_goes_on_with_the_settings_that_it_is_given(tmp_path, stop_at, schedule):
    """Its rates are those that a run of these settings has at that place; what the optimizer has learnt is kept."""
    warmup = 0 if schedule == "one-cycle" else 4
    settings = {"schedule": schedule, "warmup": warmup, "lr": 0.02, "epochs": 4}
    longer = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "longer", **{**OPTIONS, **settings})
    folder = begin(tmp_path / "runs", stop_at, schedule=schedule, warmup=warmup)
    same = zoo.resume(folder, fork=True, runs_dir=tmp_path / "same")
    edit(folder, lr=0.02)
    forked = zoo.resume(folder, fork=True, epochs=4, runs_dir=tmp_path / "runs")
    assert forked.history[0]["lr"] == same.history[0]["lr"] != longer.history[0]["lr"]
    assert [epoch["lr"] for epoch in forked.history[1:]] == [epoch["lr"] for epoch in longer.history[1:]]
    record = read_record(forked.run / "run.json")
    assert record.train_config["lr"] == 0.02 and record.train_config["epochs"] == 4
    assert drop_seconds(forked.history[:1]) == drop_seconds(same.history[:1])
    with pytest.raises(zoo.UsageError, match="at least the 1 that are done"):
        edit(folder, epochs=0)
        zoo.resume(folder, fork=True, runs_dir=tmp_path / "runs")


@pytest.mark.promise("P2")
def test_a_state_of_another_optimizer_is_no_fork(tmp_path, stop_at):
    folder = begin(tmp_path / "runs", stop_at)
    edit(folder, optimizer="adam", momentum=0.0)
    with pytest.raises(
        zoo.UsageError, match=r"the state of step 13 is of optimizer sgd, not adam\. Start from"
    ) as caught:
        zoo.resume(folder, fork=True, runs_dir=tmp_path / "forked")
    assert caught.value.exit_code == 2


@pytest.mark.promise("P2")
def test_a_damaged_checkpoint_is_told_and_kept_and_the_one_before_is_taken(tmp_path, stop_at, caplog):
    whole = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "whole", **OPTIONS)
    folder = begin(tmp_path / "runs", stop_at, step=25, checkpoint_every="5 steps")
    newest, older = sorted((folder / "checkpoints").iterdir(), reverse=True)
    damaged = newest / "state.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    found = zoo.resume(folder, checkpoint_every="5 steps")
    assert f"{newest.name} is damaged (state.safetensors is not what MANIFEST.json says)" in caplog.text
    assert str(int(older.name[5:])) in caplog.text
    assert found.weights.read_bytes() == whole.weights.read_bytes()
    # It stays, and beside it as many as are kept of those that can be used.
    *good, last = list_checkpoints(folder)
    assert last == newest and damaged.read_bytes() == data and len(good) == 2
    assert min(good) > newest and not older.exists()


@pytest.mark.promise("P2")
def test_without_any_usable_checkpoint_nothing_is_changed(tmp_path, stop_at):
    folder = begin(tmp_path, stop_at)
    for checkpoint in list_checkpoints(folder):
        (checkpoint / "state.json").write_text("{}")
    before = sorted(path for path in folder.rglob("*"))
    with pytest.raises(zoo.WeightsError, match="no usable checkpoint") as caught:
        zoo.resume(folder)
    assert caught.value.exit_code == 4 and "is damaged" in str(caught.value)
    assert [path for path in sorted(folder.rglob("*")) if path.name != ".lock"] == before
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(zoo.WeightsError, match="it has none"):
        zoo.resume(folder)
    with pytest.raises(zoo.UsageError, match="no run"):
        zoo.resume(tmp_path / "nowhere")


def edit(folder, **changes):
    path = folder / "run.json"
    record = json.loads(path.read_text())
    for name, value in changes.items():
        table = record if name in record else record["train_config"]
        table[name] = value
    path.write_text(json.dumps(record))


@pytest.mark.promise("P2")
def test_what_changed_since_the_run_began_is_refused_by_name(tmp_path, stop_at, monkeypatch):
    folder = begin(tmp_path, stop_at)
    before = (folder / "run.json").read_text()
    edit(folder, lr=0.5)
    with pytest.raises(zoo.UsageError, match=r"lr differs \(.* -> 0.5\)") as caught:
        zoo.resume(folder)
    assert "fork=True" in caught.value.fix
    (folder / "run.json").write_text(before)

    checkpoint = list_checkpoints(folder)[0]

    def pretend(**changes):
        found = find_checkpoint(folder)
        monkeypatch.setattr(
            resume, "find_checkpoint", lambda _: resume.replace(found, record=resume.replace(found.record, **changes))
        )

    began = find_checkpoint(folder).record
    pretend(dataset=resume.replace(began.dataset, digest="0" * 64))
    with pytest.raises(zoo.DataError, match="dataset 'shapes' has changed since the run began"):
        zoo.resume(folder)
    pretend(plugin=resume.replace(began.plugin, version="0.0.1"))
    with pytest.raises(zoo.UsageError, match=r"version of the plugin of model differs \(0.0.1 -> "):
        zoo.resume(folder)
    pretend(parameters=5)
    with pytest.raises(zoo.UsageError, match="number of parameters differs"):
        zoo.resume(folder)
    assert (folder / "run.json").read_text() == before and checkpoint.is_dir()


@pytest.mark.promise("P2")
def test_another_environment_is_warned_of_and_recorded(tmp_path, stop_at, monkeypatch, caplog):
    folder = begin(tmp_path, stop_at)
    found = find_checkpoint(folder)
    elsewhere = resume.replace(found.record, threads=64, versions={**found.record.versions, "torch": "1.0"})
    monkeypatch.setattr(resume, "find_checkpoint", lambda _: resume.replace(found, record=elsewhere))
    zoo.resume(folder)
    assert f"torch 1.0 -> {torch.__version__}" in caplog.text and "threads 64 -> 1" in caplog.text
    assert "differ in the last bits" in caplog.text
    assert read_record(folder / "run.json").resumed[0]["changed"] == [
        f"torch 1.0 -> {torch.__version__}",
        "threads 64 -> 1",
    ]


@pytest.mark.promise("P9")
def test_two_processes_cannot_train_one_run(tmp_path, stop_at, monkeypatch):
    monkeypatch.setattr(resume, "ORPHANS", 0.1)
    folder = begin(tmp_path, stop_at)
    held = "import sys; from zoo.storage.locks import lock\nwith lock(sys.argv[1], timeout=1):"
    held += " print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held, folder / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(zoo.StorageError, match="is in use") as caught:
            zoo.resume(folder)
        assert caught.value.exit_code == 7
        other.kill()  # the lock of a dead process holds nobody back
    edit(folder, status="running")
    with pytest.raises(zoo.StorageError, match=f"process {os.getpid()} on .* has trained it since"):
        zoo.resume(folder)
    edit(folder, status="interrupted")
    assert zoo.resume(folder).run == folder


ORPHAN = """
import fcntl, os, signal, sys
held = open(sys.argv[1], "a")
fcntl.flock(held, fcntl.LOCK_EX)  # filelock's, but for what it does in a child that is forked, as soon as that can
if not os.fork():
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.promise("P2", "P9")
def test_a_worker_that_outlives_its_killed_parent_is_waited_for(tmp_path, stop_at, monkeypatch):
    monkeypatch.setattr(resume, "ORPHANS", 600)
    folder = begin(tmp_path, stop_at)
    tried = []
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, folder / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "forked\n" and parent.wait() == -signal.SIGKILL

        def end_worker():
            tried.append(True)
            parent.stdin.close()

        monkeypatch.setattr(resume, "lock", partial(resume.lock, wait=end_worker))
        assert zoo.resume(folder).history and tried


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (90, Interval(90.0)),
        ("90s", Interval(90.0)),
        ("10m", Interval(600.0)),
        ("1.5 hours", Interval(5400.0)),
        ("500 steps", Interval(500, "steps")),
        ("1 epoch", Interval(1, "epochs")),
    ],
)
def test_intervals(text, expected):
    assert read_interval("checkpoint_every", text) == expected


@pytest.mark.parametrize("text", ["", "ten", "0s", "-5", "1.5 steps", "0 epochs", "5 weeks", float("nan"), 0])
def test_what_is_no_interval_is_refused_before_anything_is_done(tmp_path, text):
    with pytest.raises(zoo.UsageError, match="checkpoint_every: must be a time"):
        zoo.run("relu-mlp", "shapes", checkpoint_every=text, runs_dir=tmp_path / "runs")
    with pytest.raises(zoo.UsageError, match="max_time: must be a time"):
        zoo.run("relu-mlp", "shapes", max_time="2 epochs", runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.promise("P12")
def test_a_time_limit_stops_as_a_signal_does(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, max_time="0.0001s", **OPTIONS)
    assert caught.value.exit_code == 124
    folder = next(tmp_path.iterdir())
    assert find_checkpoint(folder).step == 1
    assert read_record(folder / "run.json").error == "TimeIsUp: the run has had its time"
    assert zoo.resume(folder).history


def test_checkpoints_come_as_often_as_was_asked_for(tmp_path):
    run = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, checkpoint_every="10 steps", **OPTIONS)
    assert [path.name for path in list_checkpoints(run.run)] == ["step-00000030-2", "step-00000030"]
    assert not list((run.run / "checkpoints").glob(".*"))
    none = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, **OPTIONS)
    assert not (none.run / "checkpoints").exists()


@pytest.mark.promise("P1")
def test_a_checkpoint_that_cannot_be_written_costs_a_warning_not_the_run(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise zoo.StorageError("cannot save a checkpoint", "the disk is full")

    monkeypatch.setattr(pauses, "save_checkpoint", refuse)
    run = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, checkpoint_every="5 steps", **OPTIONS)
    assert run.metrics and "no checkpoint at step" in caplog.text and "the disk is full" in caplog.text


@pytest.mark.promise("P2", "P10")
def test_a_checkpoint_that_could_not_be_written_is_not_the_one_to_go_on_from(tmp_path, stop_at, monkeypatch, caplog):
    save, written = pauses.save_checkpoint, []

    def fill_up(run, checkpoint):
        if written:
            raise zoo.StorageError("cannot save a checkpoint", "the disk is full")
        written.append(checkpoint.step)
        return save(run, checkpoint)

    monkeypatch.setattr(pauses, "save_checkpoint", fill_up)
    stop_at(17)
    with pytest.raises(KeyboardInterrupt) as caught:
        zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, checkpoint_every="5 steps", **OPTIONS)
    assert written == [5] and "It goes on from step 5 with: zoo resume" in " ".join(caught.value.__notes__)
    assert "no checkpoint at step 10: " in caplog.text and "no checkpoint at step 13: " in caplog.text


CHILD = """
import os, signal, sys, zoo
from zoo.training import pauses
look, seen = pauses.Pauses.look, [0]
def send(self):
    seen[0] += 1
    for number in SIGNALS.get(seen[0], ()):
        os.kill(os.getpid(), number)
    look(self)
pauses.Pauses.look = send
"""


def start_command(python, tmp_path, signals, *arguments, more=""):
    numbers = {step: list(map(int, some)) for step, some in signals.items()}
    code = f"SIGNALS = {numbers!r}\n{CHILD}\n{more}\nfrom zoo.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = ["run", "--model", "relu-mlp", "--dataset", "shapes", "--dataset-param", "train_size=200"]
    settings = ["--epochs", "3", "--batch-size", "20", "--threads", "1", "--runs-dir", str(tmp_path)]
    return subprocess.run(
        [python, "-c", code, *command, *settings, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.promise("P12")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_the_first_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path, warm_python, number, code):
    done = start_command(warm_python, tmp_path, {17: [number]})
    assert done.returncode == code, done.stderr
    folder = next(tmp_path.iterdir())
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Stopped. 1 of 3 epochs are recorded")
    assert re.search(rf"It goes on from step \d+ with: zoo resume {re.escape(str(folder))}$", last)
    assert "Traceback" not in done.stderr and find_checkpoint(folder).step == 13


@pytest.mark.promise("P12")
def test_the_second_signal_ends_at_once_and_leaves_whole_checkpoints(tmp_path, warm_python):
    signals = {17: [signal.SIGINT, signal.SIGTERM]}
    done = start_command(warm_python, tmp_path, signals, "--checkpoint-every", "5 steps")
    assert done.returncode == 143
    folder = next(tmp_path.iterdir())
    assert done.stderr.splitlines()[-1] == f"Stopped at once. The newest checkpoint is whole: zoo resume {folder}"
    assert find_checkpoint(folder).step in (5, 10) and read_record(folder / "run.json").status == "killed"
    assert zoo.resume(folder).history
    none = start_command(warm_python, tmp_path / "none", signals)
    assert none.stderr.splitlines()[-1] == "Stopped at once. There is no checkpoint to go on from"


@pytest.mark.promise("P12")
def test_a_terminal_that_closes_is_one_signal(tmp_path, warm_python):
    done = start_command(warm_python, tmp_path, {17: [signal.SIGHUP, signal.SIGHUP]})
    assert done.returncode == 129 and find_checkpoint(next(tmp_path.iterdir())).step == 13


PAUSE = """
import subprocess, time
from zoo.training import signals
signals.GRACE = 3.0
def pause(number, seconds):
    if number:
        os.kill(os.getpid(), number)
        time.sleep(0.2)  # the time of the step begins to be counted
    wake = "until grep -q 'State:.T' /proc/$0/status; do sleep 0.05; done; sleep $1; kill -CONT $0"
    with subprocess.Popen(["sh", "-c", wake, str(os.getpid()), str(seconds)]):
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.3)  # the rest of the step
PAUSED = [0]
def stop(self):
    PAUSED[0] += 1
    if PAUSED[0] == 17:
        pause(NUMBER, SECONDS)
    earlier(self)
earlier, pauses.Pauses.look = pauses.Pauses.look, stop
"""


@pytest.mark.promise("P12")
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="it looks into /proc for a process that is stopped")
@pytest.mark.parametrize(("number", "seconds", "code"), [(0, 0.1, 0), (int(signal.SIGTERM), 3.5, 143)])
def test_the_time_in_which_the_whole_program_is_stopped_is_nobodys_fault(tmp_path, warm_python, number, seconds, code):
    """As by Ctrl-Z and fg. A signal before it leaves the step its whole time afterwards."""
    lines = f"NUMBER, SECONDS = {number}, {seconds}\n{PAUSE}"
    done = start_command(warm_python, tmp_path, {}, more=lines)
    assert done.returncode == code, done.stderr
    folder = next(tmp_path.iterdir())
    if code:
        assert find_checkpoint(folder).step == 13 and "It goes on from step 13" in done.stderr
        return
    whole = zoo.run("relu-mlp", "shapes", runs_dir=tmp_path / "whole", **{**OPTIONS, "momentum": 0.0})
    record = read_record(folder / "run.json")
    assert drop_seconds(record.history) == drop_seconds(whole.history)
    assert min(part for epoch in record.history for part in epoch["seconds"].values()) >= 0 <= record.seconds


@pytest.mark.promise("P12")
def test_a_request_saves_a_checkpoint_and_the_training_goes_on(tmp_path, warm_python):
    done = start_command(warm_python, tmp_path, {17: [signal.SIGUSR1]})
    assert done.returncode == 0, done.stderr
    assert len(list_checkpoints(next(tmp_path.iterdir()))) == 2  # that one, and the end of the training


def test_the_command_goes_on_and_prints_what_run_prints(tmp_path, warm_python):
    stopped = start_command(warm_python, tmp_path, {17: [signal.SIGTERM]})
    assert stopped.returncode == 143
    done = subprocess.run(
        [warm_python, "-m", "zoo", "resume", "--runs-dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "resumed at step 13 of 30" in done.stderr
    assert re.search(r"^accuracy 0\.\d+, test loss \d", done.stdout) and "trained 3 epochs" in done.stdout
    again = subprocess.run(
        [warm_python, "-m", "zoo", "resume", str(next(tmp_path.iterdir())), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0 and "already finished: 3 of 3 epochs" in again.stderr
    assert len(json.loads(again.stdout)["history"]) == 3


OWN = """
import torch
import zoo
from torch import nn

@zoo.model(name="own")
def own(*, input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))
"""


@pytest.mark.promise("P10")
def test_the_command_that_is_printed_goes_on_with_a_run_of_a_plugin_file(own_folder, capsys):
    (own_folder / "mine.py").write_text(OWN)
    words = ["run", "--plugin", "mine.py", "--model", "own", "--dataset-param", "train_size=200", "--epochs", "2"]
    assert main([*words, "--runs-dir", "runs", "--max-time", "0.0001s"]) == 124
    command = capsys.readouterr().err.splitlines()[-1].rpartition(" with: ")[2]
    folder = next((own_folder / "runs").iterdir())
    assert shlex.split(command) == ["zoo", "resume", "--plugin", str(own_folder / "mine.py"), str(folder)]
    assert main(["runs", "show", str(folder)]) == 0
    assert command in capsys.readouterr().out
    advice = f"no such plugin here. Give it with --plugin {own_folder / 'mine.py'} if you trust it"
    for asked, words in (("resume", shlex.split(command)), ("reproduce", ["zoo", "show", str(folder)])):
        assert main([asked, str(folder)]) == 5
        assert f"the run needs its model 'own': {advice}" in capsys.readouterr().err
        assert main(words[1:]) == 0


@pytest.mark.promise("P12")
def test_the_command_that_is_printed_says_what_the_record_does_not(own_folder, capsys):
    """Where the data are, and who is told of the run."""
    (own_folder / "data").mkdir()
    words = ["run", "--model", "relu-mlp", "--dataset", "shapes", "--dataset-param", "train_size=200", "--epochs", "1"]
    words += ["--data-dir", "data", "--runs-dir", "runs", "--log", "tensorboard", "--max-time", "0.0001s"]
    assert main(words) == 124
    command = capsys.readouterr().err.splitlines()[-1].rpartition(" with: ")[2]
    folder = next((own_folder / "runs").iterdir())
    said = ["--data-dir", str(own_folder / "data"), "--log", "tensorboard"]
    assert shlex.split(command) == ["zoo", "resume", *said, str(folder)]
    assert main(shlex.split(command)[1:]) == 0


def test_a_resumed_run_that_fails_before_its_next_checkpoint_names_the_one_it_has(tmp_path, stop_at):
    folder = begin(tmp_path, stop_at)

    def fail(_):
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights") as caught:
        zoo.resume(folder, on_epoch=fail)
    step = find_checkpoint(folder).step
    assert step > 0 and f"It goes on from step {step} with: zoo resume {folder}" in " ".join(caught.value.__notes__)
    assert zoo.resume(folder).history
