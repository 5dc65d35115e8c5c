"""What is finished stays: whatever ends a run leaves the weights and the history of its last finished epoch."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import Dataset

import zoo
from zoo.cli.main import main
from zoo.records.runs import read_record

SMALL = {"train_size": 640, "test_size": 200}


def run_small(tmp_path, **arguments):
    return zoo.run(**{"dataset_params": SMALL, "epochs": 3, "runs_dir": tmp_path / "runs", **arguments})


def only_run(tmp_path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def check_kept(folder: Path, *, status: str, epochs: int, **verify) -> dict:
    """Check that a run folder holds the history of so many epochs and their weights, which prove themselves."""
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], len(record["history"])) == (status, epochs)
    if "test" in record["history"][-1]:
        assert record["metrics"] == record["history"][-1]["test"]
    else:
        assert record["validation"] == record["history"][record["best"]["epoch"] - 1]["validation"]
    assert zoo.verify(folder, **verify).checks["golden samples"].startswith("8 replayed")
    return record


class Reactor(nn.Module):
    """A linear model whose forward does what `self.act` is told to do; that is no part of its state."""

    act = staticmethod(lambda model: None)

    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.stack = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))

    def forward(self, inputs):
        Reactor.act(self)
        return self.stack(inputs)


@pytest.fixture
def reactor(monkeypatch):
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="reactor", factory=Reactor), plugin="mine")
    monkeypatch.setattr(Reactor, "act", staticmethod(lambda model: None))
    return registry


def act_in_epoch(number, act):
    """Return what `on_epoch` does so that the forward passes of training in the next epoch do something."""

    def on_epoch(epoch):
        if epoch["epoch"] == number - 1:
            Reactor.act = staticmethod(lambda model: model.training and act())

    return on_epoch


def fail():
    raise RuntimeError("broken in the middle")


@pytest.mark.promise("P12")
@pytest.mark.parametrize(
    ("end", "error", "status"),
    [
        (fail, zoo.PluginError, "failed"),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt, "interrupted"),
        (lambda: torch.nn.init.constant_(torch.empty(1), 0).add_(1 / 0), zoo.PluginError, "failed"),
    ],
)
def test_what_ends_an_epoch_keeps_the_one_before(tmp_path, reactor, end, error, status):
    with pytest.raises(error) as caught:
        run_small(tmp_path, model="reactor", registry=reactor, on_epoch=act_in_epoch(3, end))
    Reactor.act = staticmethod(lambda model: None)
    folder = only_run(tmp_path)
    check_kept(folder, status=status, epochs=2, registry=reactor)
    told = f"2 of 3 epochs are recorded in {folder}; weights of epoch 2: {folder / 'weights.safetensors'}"
    assert told in (caught.value.fix if isinstance(caught.value, zoo.ZooError) else caught.value.__notes__[0])
    # They are the very weights that two epochs give.
    whole = run_small(tmp_path / "other", model="reactor", registry=reactor, epochs=2)
    ours, theirs = (safetensors.torch.load_file(path) for path in (folder / "weights.safetensors", whole.weights))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(zoo.WeightsError, match="no finished run"):
        zoo.load("@last", runs_dir=tmp_path / "runs")


def test_a_run_that_diverges_keeps_the_epoch_before(tmp_path, reactor):
    def poison(model):
        if model.training:
            model.stack[1].weight.data.fill_(float("nan"))

    def on_epoch(epoch):
        Reactor.act = staticmethod(poison)

    with pytest.raises(
        zoo.DivergedError, match=r"step 1 of epoch 2.*1 of 3 epochs are recorded in .*weights of epoch 1"
    ):
        run_small(tmp_path, model="reactor", registry=reactor, on_epoch=on_epoch)
    Reactor.act = staticmethod(lambda model: None)
    check_kept(only_run(tmp_path), status="diverged", epochs=1, registry=reactor)


def test_a_model_that_fails_while_it_is_proved_is_saved_without_golden_samples(tmp_path, reactor, caplog):
    def on_epoch(epoch):
        Reactor.act = staticmethod(lambda model: fail())

    result = run_small(tmp_path, model="reactor", registry=reactor, epochs=1, on_epoch=on_epoch)
    assert "broken in the middle). Its weights are saved without golden samples" in caplog.text
    assert json.loads((result.run / "run.json").read_text())["status"] == "finished"
    Reactor.act = staticmethod(lambda model: None)
    assert zoo.verify(result.run, registry=reactor).checks["golden samples"].startswith("none")


@pytest.mark.promise("P1")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_save_lets_it_finish(tmp_path, reactor, number):
    """The model is built anew to prove what was written: a signal sent there arrives in the middle of the save."""
    armed, former = [], signal.getsignal(number)

    class Sender(Reactor):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            for _ in armed:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)

    def stop(*_):
        raise KeyboardInterrupt

    reactor.add(zoo.ModelSpec(name="sender", factory=Sender), plugin="mine")
    signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run_small(tmp_path, model="sender", registry=reactor, epochs=1, on_epoch=armed.append)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, former)
        armed.clear()
    folder = only_run(tmp_path)
    check_kept(folder, status="finished", epochs=1, registry=reactor)
    assert (folder / "predictions.safetensors").exists()
    assert caught.value.__notes__[0].endswith(f"weights of epoch 1: {folder / 'weights.safetensors'}")


class Fragile(Dataset):
    """A split whose sample `broken` cannot be read; evaluation reads it in two batches."""

    broken = None

    def __len__(self):
        return 1100

    def __getitem__(self, index):
        if Fragile.broken == index:
            raise OSError("the disk is gone")
        return torch.zeros(1, 16, 16), index % 2


def two_classes(*, root, fragile: str = "validation"):
    images = torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    split = (images, torch.arange(64) % 2)
    splits = {"train": split, "test": split, "validation": split, fragile: Fragile()}
    return zoo.DataSplits(**splits, class_names=["even", "odd"])


@pytest.fixture
def validated(monkeypatch):
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="validated", factory=two_classes), plugin="mine")
    monkeypatch.setattr(Fragile, "broken", None)
    return registry


@pytest.mark.parametrize(("split", "epochs"), [("validation", 2), ("test", 3)])
def test_a_split_that_fails_late_costs_nothing_but_its_scores(tmp_path, validated, split, epochs):
    # The validation split is read after each epoch, the test split once, after the last one.
    def on_epoch(epoch):
        Fragile.broken = 1050 if epoch["epoch"] == epochs else None

    params = {"dataset": "validated", "dataset_params": {"fragile": split}, "registry": validated}
    with pytest.raises(
        zoo.DataError, match=rf"sample 1050: OSError: the disk is gone \(.*\)\. {epochs} of 3 epochs .* of epoch \d: "
    ) as no:
        run_small(tmp_path, **params, on_epoch=on_epoch)
    record = check_kept(only_run(tmp_path), status="failed", epochs=epochs, registry=validated)
    assert no.value.exit_code == 3 and "the disk is gone" in record["error"]
    assert (only_run(tmp_path) / "last.safetensors").exists() is (split == "test")


def test_a_validation_split_that_cannot_be_read_is_found_before_the_first_step(tmp_path, validated):
    Fragile.broken, seen = 7, []
    with pytest.raises(zoo.DataError, match="sample 7: OSError: the disk is gone"):
        run_small(tmp_path, dataset="validated", dataset_params=None, registry=validated, on_epoch=seen.append)
    assert not seen and not list((tmp_path / "runs").iterdir())


def test_a_metric_that_fails_on_the_test_split_costs_nothing_but_its_scores(tmp_path, validated):
    class Moody:
        broken = False

        def __init__(self, *, num_classes):
            pass

        def reset(self):
            pass

        def update(self, logits, targets):
            pass

        def compute(self):
            return 1 / 0 if Moody.broken else 1.0

    def on_epoch(epoch):
        Moody.broken = epoch["epoch"] == 3

    validated.add(zoo.MetricSpec(name="moody", factory=Moody), plugin="mine")
    with pytest.raises(zoo.ZooError, match=r"metric 'moody'.*3 of 3 epochs are recorded in"):
        run_small(
            tmp_path,
            dataset="validated",
            dataset_params=None,
            registry=validated,
            metrics="moody",
            on_epoch=on_epoch,
        )
    check_kept(only_run(tmp_path), status="failed", epochs=3, registry=validated)


def test_a_change_of_folder_in_forward_moves_nothing(own_folder, reactor, capsys):
    elsewhere = own_folder / "elsewhere"
    elsewhere.mkdir()
    Reactor.act = staticmethod(lambda model: os.chdir(elsewhere))
    try:
        result = zoo.run(model="reactor", dataset_params=SMALL, epochs=1, registry=reactor, runs_dir="runs")
    finally:
        os.chdir(own_folder)
    assert result.run.parent == own_folder / "runs" and result.weights.is_file() and not list(elsewhere.iterdir())
    Path("plugin.py").write_text(
        "import os, torch, zoo\n"
        "class Mover(torch.nn.Linear):\n"
        "    def forward(self, inputs):\n"
        "        os.chdir('/')\n"
        "        return super().forward(inputs.flatten(1))\n"
        "@zoo.model(name='mover')\n"
        "def build(*, input_shape, num_classes):\n"
        "    return Mover(torch.Size(input_shape).numel(), num_classes)\n"
    )
    command = "run --model mover --plugin plugin.py --epochs 1 --dataset-param train_size=64 --runs-dir runs"
    try:
        assert main(command.split()) == 0
    finally:
        os.chdir(own_folder)
    printed = capsys.readouterr().out.splitlines()[-1].removeprefix("weights: ")
    assert not Path(printed).is_absolute() and Path(printed).is_file()


@pytest.mark.promise("P1")
def test_weights_go_where_there_is_room(tmp_path, monkeypatch):
    """Neither the runs folder nor zoo's home can be written any more when the training ends."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def block(_):
        shutil.rmtree(tmp_path / "runs")
        (tmp_path / "runs").write_text("")
        (tmp_path / "home").write_text("")

    with pytest.raises(zoo.StorageError, match=r"1 of 1 epochs are recorded in .*; weights of epoch 1: ") as caught:
        run_small(tmp_path, epochs=1, on_epoch=block)
    (saved,) = tmp_path.glob("zoo-*/weights.safetensors")
    assert f"The weights were saved to {saved} instead" in str(caught.value)
    assert read_record(saved.parent / "run.json").status == "failed"
    assert zoo.verify(saved).checks


@pytest.mark.promise("P1")
def test_a_disk_that_fails_at_the_last_byte_of_the_weights_loses_none(tmp_path, monkeypatch):
    """The header is written anew, with the digest of the tensors, when all else is on the disk."""
    calls, sync = [], os.fsync

    def fail_the_second(file):
        if "weights.safetensors" in str(Path(f"/proc/self/fd/{file}").readlink()):
            calls.append(file)
            if len(calls) == 2:
                raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr("os.fsync", fail_the_second)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    with pytest.raises(
        zoo.StorageError, match=r"Input/output error.*1 of 1 epochs are recorded in .*weights of epoch 1"
    ):
        run_small(tmp_path, epochs=1)
    (saved,) = (tmp_path / "home" / "rescued").glob("*/weights.safetensors")
    assert zoo.verify(saved).checks["golden samples"].startswith("8 replayed")
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["status"] == "failed"


def test_weights_that_go_nowhere_name_each_place(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    (tmp_path / "none").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

    def block(_):
        shutil.rmtree(tmp_path / "runs")
        (tmp_path / "home").write_text("")

    with pytest.raises(zoo.StorageError, match="could not be saved anywhere") as caught:
        run_small(tmp_path, epochs=1, on_epoch=block)
    assert all(str(tmp_path / name) in str(caught.value) for name in ("runs", "home", "none"))
    assert caught.value.exit_code == 7


@pytest.mark.promise("P1")
def test_a_run_without_room_is_refused_before_it_trains(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 50_000))
    with pytest.raises(zoo.StorageError, match=r"the run will write 0\.1 MB, the disk has 0\.1 MB free"):
        run_small(tmp_path, on_epoch=seen.append)
    assert not seen and not list((tmp_path / "runs").iterdir())


@pytest.mark.promise("P12")
def test_a_signal_that_python_leaves_to_the_system_ends_the_process_after_the_save(warm_python, tmp_path):
    code = (
        "import os, signal, zoo\n"
        "def stop(epoch):\n"
        "    if epoch['epoch'] == 2: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"zoo.run(epochs=5, dataset_params={SMALL}, runs_dir={str(tmp_path / 'runs')!r}, on_epoch=stop)\n"
    )
    done = subprocess.run([warm_python, "-c", code], check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGTERM, done.stderr
    check_kept(only_run(tmp_path), status="interrupted", epochs=2)


def test_results_of_an_unfinished_run_say_so(tmp_path, reactor, caplog, capsys):
    with pytest.raises(zoo.PluginError):
        run_small(tmp_path, model="reactor", registry=reactor, on_epoch=act_in_epoch(2, fail))
    Reactor.act = staticmethod(lambda model: None)
    folder = only_run(tmp_path)
    (result,) = zoo.read_results([folder], registry=reactor)
    assert len(result.outcomes) == 200 and f"{folder}: its run is failed after 1 of 3 epochs" in caplog.text
    assert main(["show", str(folder)]) == 0
    assert "its run         failed, after 1 of 3 epochs" in capsys.readouterr().out
