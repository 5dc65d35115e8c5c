"""Reproduction: a run repeated from what is written of it, graded, and what has changed named."""

from __future__ import annotations

import json
import shutil

import pytest

import zoo
from zoo.cli.main import main
from zoo.records.runs import read_record
from zoo.training import reproduction

pytestmark = pytest.mark.promise("P15")

OPTIONS = {"dataset_params": {"train_size": 200}, "epochs": 2, "batch_size": 20, "augment": "flip", "validation": 0.2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.run("relu-mlp", "shapes", runs_dir=tmp_path_factory.mktemp("runs"), **OPTIONS)


def test_a_run_is_repeated_bit_by_bit_from_its_record(run, tmp_path):
    again = zoo.reproduce(run.run, runs_dir=tmp_path)
    assert (again.grade, again.changed) == ("BITWISE", ()) and again.run.parent == tmp_path
    assert again.metrics == {name: (value, value) for name, value in run.metrics.items()}
    assert again.weights == run.weights and repr(again).startswith("Reproduction(BITWISE")


def test_a_file_that_somebody_sent_says_enough(run, tmp_path):
    sent = shutil.copy(run.weights, tmp_path / "sent.safetensors")
    again = zoo.reproduce(sent, runs_dir=tmp_path / "runs")
    assert (again.grade, again.changed) == ("BITWISE", ())
    assert set(again.metrics) == {"accuracy", "loss"}


def test_the_course_averages_and_the_weights_it_starts_from_are_repeated(run, tmp_path):
    options = {"runs_dir": tmp_path, "epochs": 1, "course_style": True, "freeze": "layer_stack.1.*"}
    tuned = zoo.run(init=run.weights, **options)
    again = zoo.reproduce(tuned.run, runs_dir=tmp_path)
    assert again.grade == "BITWISE" and "course.loss" in again.metrics
    sent = shutil.copy(tuned.weights, tmp_path / "sent.safetensors")
    with pytest.raises(zoo.WeightsError, match="no weights at"):
        zoo.reproduce(sent, runs_dir=tmp_path)
    again = zoo.reproduce(sent, init=run.weights, runs_dir=tmp_path)
    assert again.grade == "BITWISE" and again.changed == ()


def edit(run, folder, **changes):
    """Return a copy of a run whose record says something else."""
    copy = shutil.copytree(run.run, folder / "edited")
    record = json.loads((copy / "run.json").read_text())
    for name, value in changes.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    (copy / "run.json").write_text(json.dumps(record))
    return copy


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"versions": {"torch": "1.0"}}, r"torch 1.0 -> "),
        ({"plugin": {"version": "0.0.1"}}, r"the version of the plugin of model 0.0.1 -> "),
        ({"dataset": {"digest": "0" * 64}}, r"data 000000000000 -> "),
        ({"parameters": 5}, r"the number of parameters 5 -> "),
    ],
)
def test_what_has_changed_is_named(run, tmp_path, changes, told):
    again = zoo.reproduce(edit(run, tmp_path, **changes), runs_dir=tmp_path)
    assert again.grade == "BITWISE" and len(again.changed) == 1 and told in again.changed[0].replace("\\", "")


def test_a_run_that_was_stopped_is_repeated_to_its_end_which_is_told(tmp_path, capsys):
    def stop(epoch):
        if epoch["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zoo.run("relu-mlp", "shapes", runs_dir=tmp_path, on_epoch=stop, **OPTIONS)
    run = next(tmp_path.iterdir())
    assert main(["reproduce", str(run), "--runs-dir", str(tmp_path)]) == 11  # it has no score of the test split
    out, err = capsys.readouterr()
    assert out.startswith("DRIFT\nepochs that were trained 1 -> 2\nrepeated in ")
    assert "no score is known of the first: epochs that were trained 1 -> 2" in err


def test_what_a_resumed_run_went_on_with_is_named_where_other_weights_come_out(run, tmp_path):
    went_on = [{"step": 7, "changed": ["threads 64 -> 1"]}, {"step": 9, "of": "runs/x"}]
    first = edit(run, tmp_path, resumed=went_on)
    assert zoo.reproduce(first, runs_dir=tmp_path).changed == ()
    record = json.loads((first / "run.json").read_text())
    record["train_config"]["lr"] = 0.03
    (first / "run.json").write_text(json.dumps(record))
    assert zoo.reproduce(first, runs_dir=tmp_path).changed == (
        "the first went on at step 7 with threads 64 -> 1",
        "the first went on at step 9 from the state of runs/x, and with settings of its own",
    )


def test_another_training_is_a_drift_with_an_exit_code_of_its_own(run, tmp_path, capsys):
    other = edit(run, tmp_path, train_config={"lr": 0.5})
    assert main(["reproduce", str(other), "--runs-dir", str(tmp_path)]) == 11
    printed = capsys.readouterr()
    assert printed.out.startswith("DRIFT\n") and "nothing is known that has changed" in printed.out
    assert "Error: other scores came out" in printed.err
    assert main(["reproduce", str(run.run), "--runs-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grade"] == "BITWISE"


def test_the_same_scores_of_other_tensors_are_the_second_grade(run, tmp_path, monkeypatch):
    read = reproduction.read_metadata
    first = []

    def other_digest(path, table):
        found = read(path, table)
        first.append(path)
        digests = {**found.digests, "tensors": "0" * 64}
        return reproduction.replace(found, digests=digests) if len(first) == 1 else found

    monkeypatch.setattr(reproduction, "read_metadata", other_digest)
    assert zoo.reproduce(run.run, runs_dir=tmp_path).grade == "SAME METRICS"


@pytest.mark.promise("P14")
def test_settings_that_did_not_exist_are_compared_with_what_they_are_by_default(run):
    record = read_record(run.run / "run.json")
    older = reproduction.replace(
        record, train_config={k: v for k, v in record.train_config.items() if k not in ("augment", "ema")}
    )
    assert list(reproduction.list_changes(older, record)) == ["setting augment did not exist -> flip"]
    assert list(reproduction.list_changes(record, record)) == []


def test_weights_that_no_training_is_known_of_are_refused(tmp_path):
    model = zoo.create_model("baseline", input_shape=(1, 28, 28), num_classes=10)
    names = [str(number) for number in range(10)]
    zoo.save(model, tmp_path / "w.safetensors", model="baseline", input_shape=(1, 28, 28), class_names=names)
    with pytest.raises(zoo.UsageError, match="does not say what was trained"):
        zoo.reproduce(tmp_path / "w.safetensors", runs_dir=tmp_path)
