"""Callbacks hear what happens in a run, and nothing that they do changes it."""

from __future__ import annotations

import json
import random
import signal
import sys

import numpy
import pytest
import safetensors.torch
import torch

import zoo

SMALL = {"train_size": 320, "test_size": 100}


def run_small(tmp_path, **arguments):
    return zoo.run(**{"dataset_params": SMALL, "epochs": 2, "runs_dir": tmp_path / "runs", **arguments})


class Listener(zoo.Callback):
    def __init__(self):
        self.heard = []

    def run_started(self, run):
        self.heard.append(("started", run.folder.is_dir(), run.record.status, run.record.train_config["epochs"]))

    def epoch_finished(self, epoch):
        self.heard.append(("epoch", epoch["epoch"], epoch["test"]))

    def run_finished(self, run):
        saved = json.loads((run.folder / "run.json").read_text())
        self.heard.append(("finished", run.record.status, len(run.record.history), saved["status"], run.weights))


def test_a_callback_hears_the_run_in_order(tmp_path):
    listener = Listener()
    result = run_small(tmp_path, callbacks=[listener])
    assert listener.heard == [
        ("started", True, "running", 2),
        ("epoch", 1, result.history[0]["test"]),
        ("epoch", 2, result.history[1]["test"]),
        ("finished", "finished", 2, "finished", result.weights),
    ]


def stop():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise RuntimeError("mine")


@pytest.mark.parametrize(
    ("end", "error", "status"), [(stop, KeyboardInterrupt, "interrupted"), (fail, RuntimeError, "failed")]
)
def test_it_hears_of_a_run_that_did_not_finish(tmp_path, end, error, status):
    listener = Listener()
    with pytest.raises(error):
        run_small(tmp_path, callbacks=[listener], on_epoch=lambda epoch: end())
    name, *told, weights = listener.heard[-1]
    assert (name, *told) == ("finished", status, 1, status) and weights.is_file()


def test_it_hears_of_a_divergence(tmp_path):
    listener = Listener()
    with pytest.raises(zoo.DivergedError):
        run_small(tmp_path, callbacks=[listener], lr=1e30)
    assert listener.heard[-1][:4] == ("finished", "diverged", 0, "diverged")


def test_a_run_that_never_starts_is_not_told(tmp_path):
    listener = Listener()
    with pytest.raises(zoo.UsageError):
        run_small(tmp_path, model="no-such-model", callbacks=[listener])
    assert listener.heard == []


class Broken:
    def __init__(self, method, error):
        self.calls = 0
        setattr(self, method, self.call)
        self.error = error

    def call(self, argument):
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [ValueError("of mine"), SystemExit(3), zoo.DataError("x"), MemoryError()])
@pytest.mark.parametrize("method", ["run_started", "epoch_finished", "run_finished"])
def test_one_that_raises_costs_a_line_and_nothing_else(tmp_path, caplog, method, error):
    broken, listener = Broken(method, error), Listener()
    result = run_small(tmp_path, callbacks=[broken, listener])
    assert result.weights.is_file() and len(result.history) == 2 and listener.heard[-1][1] == "finished"
    (line,) = [record.getMessage() for record in caplog.records if "callback" in record.getMessage()]
    assert line.startswith(f"callback Broken, {method} failed") and type(error).__name__ in line
    assert broken.calls == (2 if method == "epoch_finished" else 1)


def test_ctrl_c_in_one_stops_the_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path, callbacks=[Broken("epoch_finished", KeyboardInterrupt())])
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"


class Meddler:
    """Draws from every generator, seeds them, changes what it is given, and the global state."""

    def run_started(self, run):
        run.record.train_config["epochs"] = 77
        self.epoch_finished(None)

    def epoch_finished(self, epoch):
        torch.manual_seed(0)
        torch.rand(3), random.seed(1), numpy.random.seed(2)
        torch.set_grad_enabled(False)
        if epoch:
            epoch["test"].clear()


def test_nothing_that_one_does_changes_the_training(tmp_path, caplog):
    plain = run_small(tmp_path, epochs=3, augment="flip")
    random.seed(5)
    before = random.getstate()
    watched = run_small(tmp_path, epochs=3, augment="flip", callbacks=[Meddler()])
    assert random.getstate() == before
    ours, theirs = (safetensors.torch.load_file(run.weights) for run in (watched, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [epoch["test"] for epoch in watched.history] == [epoch["test"] for epoch in plain.history]
    assert json.loads((watched.run / "run.json").read_text())["train_config"]["epochs"] == 3
    assert "callback Meddler changed the gradient mode" in caplog.text


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (Listener, "expected objects, not classes"),
        (object(), "expected objects with any of run_started, epoch_finished, run_finished"),
        (print, "expected objects with any of"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything(tmp_path, callback, said):
    with pytest.raises(zoo.SettingError, match=said):
        run_small(tmp_path, callbacks=[callback])
    assert not (tmp_path / "runs").exists()


def test_every_run_of_several_seeds_is_heard(tmp_path):
    listener = Listener()
    zoo.run_seeds(2, dataset_params=SMALL, epochs=1, runs_dir=tmp_path, callbacks=[listener])
    assert [heard[0] for heard in listener.heard] == ["started", "epoch", "finished"] * 2


def test_a_callback_that_writes_to_stdout_says_it_where_it_may(tmp_path, capsys):
    class Printer:
        def epoch_finished(self, epoch):
            print("epoch", epoch["epoch"], file=sys.stdout)

    run_small(tmp_path, callbacks=[Printer()])
    assert capsys.readouterr().out == "epoch 1\nepoch 2\n"
