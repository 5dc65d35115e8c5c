"""What runs can be asked for, and in which order: `zoo.runs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zoo


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder, "one", metrics={"loss": 0.9, "accuracy": 0.5}, lr=0.1, seed=42)
    write_run(folder, "two", model="tinyvgg", metrics={"loss": None, "accuracy": 0.9}, lr=0.01, seed=7, ema=0.99)
    write_run(folder, "three", dataset="mnist", validation={"accuracy": 0.95}, lr=0.5, status="interrupted")
    write_run(folder, "four", plugin="other", metrics={"f1.macro": 0.7}, optimizer="adam", status="failed")
    (folder / "five").mkdir()
    (folder / "five" / "run.json").write_text("{")
    (folder / "notes").mkdir()
    (folder / "notes.txt").write_text("no run")
    return folder


def write_run(runs: Path, name: str, *, model="baseline", dataset="shapes", plugin="zoo", **parts) -> None:
    folder = runs / name
    folder.mkdir(parents=True)
    scores = {key: parts.pop(key) for key in ("metrics", "validation") if key in parts}
    record = {
        "status": parts.pop("status", "finished"),
        "started": f"2026-11-{20 + len(list(runs.iterdir()))}T12:00:00+00:00",
        "model": model,
        "plugin": {"name": plugin, "version": "1.0"},
        "params": {"hidden_units": 10},
        "dataset": {"name": dataset, "plugin": {"name": "zoo"}, "params": {"train_size": 640}},
        "train_config": {"epochs": 3, "optimizer": "sgd", "tf32": False, "patience": None, **parts},
        "history": [{"epoch": 1, "train": {}, "test": {}, "seconds": {}}],
        "versions": {"torch": "2.9.0", 'an "odd": name': "x"},
        **scores,
    }
    (folder / "run.json").write_text(json.dumps(record))


def ask(runs: Path, *where: str, **asked) -> str:
    return " ".join(run.name for run in zoo.runs(runs_dir=runs, where=where, **asked))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ([], "four three two one five"),
        (["accuracy>0.85"], "two"),
        (["accuracy > 0.5"], "two"),
        (["accuracy>=0.5"], "two one"),
        (["accuracy!=0.5"], "two"),
        (["metrics.accuracy<0.6"], "one"),
        (["loss<1"], "one"),
        (["f1.macro=0.7"], "four"),
        (["validation.accuracy>0.9"], "three"),
        (["lr<0.1"], "two"),
        (["train_config.lr<=.1"], "two one"),
        (["seed=42"], "one"),
        (["epochs>=3"], "four three two one"),
        (["epoch=1", "lr>1e-1"], "three"),
        (["optimizer=adam"], "four"),
        (["optimizer!=adam"], "three two one"),
        (["tf32=no", "lr=0.5"], "three"),
        (["ema=none", "lr!=none"], "three one"),
        (["hidden_units=10", "params.hidden_units==10", "seed<10"], "two"),
        (["dataset.params.train_size=640", "dataset=zoo/mnist"], "three"),
        (["versions.torch='2.9.0'", "seed=7"], "two"),
        (["started>=2026-11-23"], "four three"),
        (["run=one"], "one"),
        (["status=failed"], "four"),
        (["accuracy>2"], ""),
    ],
)
def test_conditions(runs: Path, where: list[str], found: str) -> None:
    assert ask(runs, *where) == found


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("accuracy", "no condition can be read from 'accuracy': expected NAME, a sign, VALUE. As in: accuracy>0.85"),
        ("", "no condition can be read from ''"),
        ("accuracy>", "no condition can be read from 'accuracy>'"),
        (">0.5", "no condition can be read from '>0.5'"),
        ("0.5<accuracy<0.9", "no condition can be read from '0.5<accuracy<0.9'"),
        ("accuracy=>0.5", "no condition can be read from 'accuracy=>0.5'"),
        ("accuracy>high", "> compares numbers, and 'high' is none"),
        ("tf32>no", "> compares numbers, and 'no' is none"),
        ("accurcy>0.5", "no run has 'accurcy'. Did you mean 'accuracy'? Runs have run, status, started"),
        ("__class__=x", "no run has '__class__'. Runs have run, "),
        ("version=1.0", "no run has 'version'."),
        ("folder=x", "no run has 'folder'. Runs have run, "),
        ("__import__('os').getcwd()>0", "no run has \"__import__('os').getcwd()\". Runs have run, "),
        ("optimizer=3", "no run can meet 'optimizer=3': optimizer is a text, 'adam' say, and 3 is a number"),
        ("lr=yes", "lr is a number, 0.5 say, and True is True or False"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_in_words(runs: Path, where: str, said: str) -> None:
    with pytest.raises(zoo.UsageError) as caught:
        ask(runs, where)
    assert said in str(caught.value)


def test_no_text_of_a_record_is_taken_for_another_fact(tmp_path: Path) -> None:
    write_run(tmp_path, "one", note='"train_config.lr": 5, "lr": 5', lr=0.1)
    assert ask(tmp_path, "lr=0.1") == "one" and ask(tmp_path, "lr=5") == ""
    assert next(iter(zoo.runs(runs_dir=tmp_path))).facts["train_config.note"] == '"train_config.lr": 5, "lr": 5'
    assert ask(tmp_path, "note!=none") == "one"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"model": "tinyvgg"}, "two"),
        ({"model": "zoo/*"}, "three two one"),
        ({"model": "base*"}, "four three one"),
        ({"dataset": "mnist"}, "three"),
        ({"dataset": "zoo/shapes", "model": "other/baseline"}, "four"),
        ({"status": "damaged"}, "five"),
        ({"status": "finished", "where": "lr>0.05"}, "one"),
        ({"sort": "-accuracy"}, "two one five three four"),
        ({"sort": "accuracy"}, "one two five three four"),
        ({"sort": "lr"}, "two one three five four"),
        ({"sort": "-run", "top": 2}, "two three"),
        ({"sort": "started"}, "five one two three four"),
        ({"sort": "optimizer", "status": "failed"}, "four"),
    ],
)
def test_filters_and_orders(runs: Path, asked: dict, found: str) -> None:
    where = asked.pop("where", ())
    assert ask(runs, *([where] if where else []), **asked) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"status": "finshed"}, "status: expected one of running, finished"),
        ({"sort": "accurcy"}, "no run has 'accurcy'. Did you mean 'accuracy'?"),
        ({"sort": "-"}, "nothing can be sorted by '-'. Use one of: run, status"),
        ({"top": 0}, "top: must be at least 1, got 0"),
        ({"where": 3}, "where: expected a text or a list of texts, got 3"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(runs: Path, asked: dict, said: str) -> None:
    with pytest.raises(zoo.UsageError) as caught:
        zoo.runs(runs_dir=runs, **asked)
    assert said in str(caught.value)


def test_of_no_runs_anything_can_be_asked(tmp_path: Path) -> None:
    assert ask(tmp_path / "nothing", "accuracy>0.5", sort="-lr") == ""
    assert repr(zoo.runs(runs_dir=tmp_path)) == f"no runs in {tmp_path}"


def test_a_listing_is_a_record_and_a_table(runs: Path) -> None:
    listing = zoo.runs(runs_dir=runs, where="lr<1", sort="lr")
    assert (len(listing), listing.total) == (3, 5)
    assert repr(listing).splitlines() == [
        "run    status       lr    epochs  accuracy  loss    validation.accuracy",
        "two    finished     0.01  1/3     0.9000    -       -",
        "one    finished     0.1   1/3     0.5000    0.9000  -",
        "three  interrupted  0.5   1/3     -         -       0.9500",
    ]
    assert "<caption" in listing._repr_html_() and "mnist" in listing._repr_html_()
    first = listing.to_dict()["runs"][0]
    assert first["run"] == str(runs / "two") and first["metrics"] == {"loss": None, "accuracy": 0.9}
    assert first["facts"]["train_config.ema"] == 0.99 and first["started"] == "2026-11-22T12:00:00+00:00"
    assert repr(listing.runs[0]) == "RunSummary(two, finished, accuracy 0.9000, loss -)"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_table_fits_its_width_and_keeps_names_whole(runs: Path, width: int) -> None:
    write_run(runs, "20261130-101112-small-resnet-fashionmnist", metrics={"loss": 0.25, "accuracy": 0.93})
    rows = zoo.runs(runs_dir=runs).make_rows(width)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= max(width, 41 + 2 + 11)
    assert rows[0][:2] == ("run", "status") and rows[1][0] == "20261130-101112-small-resnet-fashionmnist"
    if width == 80:
        assert rows[0] == ("run", "status", "epochs", "accuracy", "loss") and rows[1][2:] == ("1/3", "0.9300", "0.2500")
