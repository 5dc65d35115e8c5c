"""zoo's own loggers, read back with the tools that they are for."""

from __future__ import annotations

import sys

import pytest

import zoo
from zoo.cli.main import main

SMALL = ["--dataset-param", "train_size=320", "--dataset-param", "test_size=100", "--epochs", "2", "--runs-dir", "runs"]


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    return events


def run(own_folder, *options):
    assert main(["run", *SMALL, *options]) == 0
    return next((own_folder / "runs").glob("2*"))


def test_tensorboard_reads_back_scalars_settings_and_status(own_folder):
    folder = run(own_folder, "--log", "tensorboard", "--validation", "0.2", "--param", "hidden_units=7")
    record, events = zoo.records.runs.read_record(folder / "run.json"), read_events(folder)
    for split, name in (("train", "loss"), ("validation", "loss"), ("validation", "accuracy")):
        told = [(event.step, event.value) for event in events.Scalars(f"{split}/{name}")]
        assert told == [(epoch["epoch"], pytest.approx(epoch[split][name])) for epoch in record.history]
    (final,) = events.Scalars("final/accuracy")
    assert final.value == pytest.approx(record.metrics["accuracy"])
    assert events.Tensors("status/text_summary")[0].tensor_proto.string_val[0] == b"finished"
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["param/hidden_units"].number_value == 7 and settings["optimizer"].string_value == "sgd"
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1 and not [
        one for one in folder.iterdir() if one.is_dir()
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries below MLflow
def test_mlflow_reads_back_params_metrics_and_status(own_folder):
    import mlflow

    folder = run(own_folder, "--log", "mlflow", "--log-param", "mlflow.experiment=mine")
    assert main(["run", *SMALL, "--log", "mlflow", "--log-param", "mlflow.experiment=mine", "--lr", "1e30"]) == 8
    record = zoo.records.runs.read_record(folder / "run.json")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{own_folder}/runs/.mlflow/store.db")
    place = client.get_experiment_by_name("mine").experiment_id
    diverged, finished = client.search_runs([place])
    assert (finished.info.status, finished.info.run_name) == ("FINISHED", folder.name)
    assert finished.data.params["lr"] == "0.1" and finished.data.params["model"] == "baseline"
    assert finished.data.metrics["final/accuracy"] == pytest.approx(record.metrics["accuracy"])
    told = [(one.step, one.value) for one in client.get_metric_history(finished.info.run_id, "train/loss")]
    assert told == [(epoch["epoch"], pytest.approx(epoch["train"]["loss"])) for epoch in record.history]
    assert diverged.info.status == "FAILED" and "loss became" in diverged.data.tags["zoo.error"]
    # All that it wrote lies in one hidden folder, so that the runs can still be compared by a pattern.
    assert sorted(one.name for one in own_folder.iterdir()) == ["runs"]
    assert main(["compare", *map(str, (own_folder / "runs").glob("[!.]*"))]) == 0


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("tensorboard", "tensorboard", "tensorboard"), ("mlflow", "mlflow", "mlflow"), ("mlflow", "alembic", "mlflow")],
)
def test_one_that_is_not_installed_is_refused_before_training(own_folder, capsys, monkeypatch, name, package, extra):
    for module in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    for module in [one for one in sys.modules if one.startswith(("zoo_plugins.loggers.", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, module)
    assert main(["run", *SMALL, "--log", name]) == 2
    assert f"pip install 'zoo-torch[{extra}]'" in capsys.readouterr().err
    assert not (own_folder / "runs").exists()


RECORDER = """
import zoo

@zoo.logger(name="recorder", description="Writes what it hears")
class Recorder:
    def __init__(self, *, run_dir, fail: str = "", mark: int = 1):
        if mark < 1:
            raise ValueError(f"mark: expected at least 1, got {mark}")
        if fail == "build":
            raise RuntimeError("no room")
        self.file, self.fail, self.mark = run_dir / "heard.txt", fail, mark

    def epoch_finished(self, epoch):
        if self.fail == "epoch":
            raise OSError("gone")
        with self.file.open("a") as file:
            file.write(f"{self.mark} {epoch['epoch']}\\n")
"""


def test_a_plugin_brings_one_and_its_params_reach_it(own_folder, capsys):
    (own_folder / "rec.py").write_text(RECORDER)
    folder = run(own_folder, "--plugin", "rec.py", "--log", "recorder", "--log-param", "recorder.mark=3")
    assert (folder / "heard.txt").read_text() == "3 1\n3 2\n"
    assert main(["list", "loggers", "--plugin", "rec.py"]) == 0
    assert {"tensorboard", "mlflow", "rec/recorder"} <= set(capsys.readouterr().out.split())
    assert main(["run", *SMALL, "--plugin", "rec.py"]) == 0  # a logger that is there and not asked for hears nothing
    assert len(list((own_folder / "runs").glob("*/heard.txt"))) == 1


@pytest.mark.parametrize(
    ("param", "code", "said"),
    [
        ("fail=epoch", 0, "logger 'recorder' of plugin 'rec', epoch_finished failed, and the run goes on without it"),
        ("fail=build", 5, "plugin 'rec': logger 'recorder' cannot be built: RuntimeError: no room"),
        ("mark=0", 2, "mark: expected at least 1, got 0"),
        ("mark=x", 2, "mark: must be a whole number"),
        ("mrk=1", 2, "Did you mean 'mark'?"),
    ],
)
def test_what_goes_wrong_with_one_is_told_as_what_it_is(own_folder, capsys, param, code, said):
    (own_folder / "rec.py").write_text(RECORDER)
    assert main(["run", *SMALL, "--plugin", "rec.py", "--log", "recorder", "--log-param", f"recorder.{param}"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--log", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["--log-param", "mlflow.experiment=x"], "log param of 'mlflow': that logger is not part of this run"),
        (["--log", "mlflow", "--log-param", "experiment=x"], "--log-param: expected LOGGER.NAME=VALUE"),
    ],
)
def test_a_wrong_name_is_refused_before_anything(own_folder, capsys, options, said):
    assert main(["run", *SMALL, *options]) == 2
    assert said in capsys.readouterr().err and not (own_folder / "runs").exists()


def test_python_takes_the_same(own_folder):
    result = zoo.run(epochs=1, dataset_params={"train_size": 320}, log="tensorboard")
    assert read_events(result.run).Scalars("train/loss")
