"""Recipes: followed by name, kept in what a run leaves behind, and their scores compared."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main
from zoo.models.references import find_weights
from zoo.records.header import read_header
from zoo.records.runs import read_record
from zoo.registry.manifest import first_party_path, read_manifest
from zoo.registry.places import open_places

MANIFEST = """
schema = 2

[models.tinyvgg]
factory = "zoo_plugins.models.baseline:Baseline"
params = { hidden_units = 3 }
train = { lr = 0.3 }

[recipes.short]
model = "tinyvgg"
dataset = "shapes"
description = "A narrow one"
params = { hidden_units = 4 }
dataset_params = { train_size = 96, test_size = 32 }
metrics = ["accuracy", "top-k"]
metric_params = { top-k = { k = 2 } }
train = { epochs = 1, seed = 7, threads = 1 }
expect = { accuracy = EXPECTED, loss = LOSS }
tolerance = { loss = 0.5 }

[recipes.silent]
model = "zoo/baseline"
dataset = "shapes"
dataset_params = { train_size = 96, test_size = 32 }
train = { epochs = 0 }
"""


@pytest.fixture
def plugin(own_folder, monkeypatch):
    """Return the options that give the plugin; what its recipe expects is what its run comes to."""
    monkeypatch.delenv("ZOO_RUNS_DIR")
    write("0.5", "1.0")
    scores = zoo.run(recipe="short", plugins=["mine.toml"], runs_dir="first").metrics
    write(repr(scores["accuracy"]), repr(scores["loss"] + 0.4))
    return ["--plugin", "mine.toml"]


def write(accuracy, loss):
    Path("mine.toml").write_text(MANIFEST.replace("EXPECTED", accuracy).replace("LOSS", loss), encoding="utf-8")


def read_metadata(weights):
    return read_header(weights).metadata


def test_a_run_says_which_recipe_it_followed_and_what_it_had_otherwise(plugin):
    result = zoo.run(recipe="short", plugins=["mine.toml"])
    record, metadata = read_record(result.run / "run.json"), read_metadata(result.weights)
    # A bare name in a recipe means what its own plugin has, though zoo has one of that name.
    assert record.plugin is not None and record.plugin.name == "mine" and result.params == {"hidden_units": 4}
    assert set(result.metrics) == {"loss", "accuracy", "top-k"} and record.metric_params["top-k"] == {"k": 2}
    assert (result.seed, len(result.history), result.train_config["lr"]) == (7, 1, 0.3)
    assert record.recipe == result.recipe and record.recipe is not None
    assert (record.recipe.name, record.recipe.plugin.name, record.recipe.changed) == ("short", "mine", ())
    assert metadata["recipe"] == {
        "name": "short",
        "plugin": {"name": "mine", "version": "", "source": "mine.toml"},
        "changed": [],
    }
    other = zoo.run(
        recipe="mine/short",
        plugins=["mine.toml"],
        epochs=0,
        params={"hidden_units": 5},
        metrics="accuracy",
        device="cpu",
    )
    assert other.recipe is not None
    assert other.recipe.changed == ("train.epochs", "train.device", "params.hidden_units", "metrics")
    far = zoo.run(recipe="short", plugins=["mine.toml"], epochs=1, dataset_params={"seed": 3}, init=result.weights)
    assert far.recipe is not None and far.recipe.changed == ("dataset_params.seed", "init")
    assert zoo.run(epochs=0, dataset_params={"train_size": 32, "test_size": 32}).recipe is None


@pytest.mark.promise("P15")
def test_the_command_that_repeats_it_needs_no_recipe(plugin, capsys):
    assert main(["run", "--recipe", "short", *plugin]) == 0
    capsys.readouterr()
    assert main(["show", "@last", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    words = shlex.split(told["repeat"])[1:]
    assert "--recipe" not in words
    write("0.5", "1.0")
    Path("mine.toml").write_text(
        Path("mine.toml").read_text(encoding="utf-8").partition("[recipes")[0], encoding="utf-8"
    )
    assert main([*words, "--runs-dir", "again"]) == 0
    (again,) = Path("again").glob("*/weights.safetensors")
    assert read_metadata(again)["digests"] == told["metadata"]["digests"]


def test_show_leaves_out_what_is_usual_and_says_the_recipe(plugin, capsys):
    assert main(["run", "--recipe", "short", "--momentum", "0.5", *plugin]) == 0
    capsys.readouterr()
    assert main(["show", "@last", *plugin]) == 0
    rows = dict(
        line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines()[1:] if "  " in line.strip()
    )
    assert rows["recipe"].strip() == "mine/short, but train.momentum"
    # The rate is what the model recommends, and no default of zoo's.
    assert rows["trained with"].strip() == "epochs=1, lr=0.3, momentum=0.5, seed=7, threads=1; else zoo's defaults"
    repeat = rows["repeat with"].strip()
    assert "--momentum 0.5" in repeat and "--batch-size 32" in repeat
    assert main(["show", "mine/short", *plugin]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("run with        zoo run --recipe mine/short --expect\n") and "epochs=1, seed=7" in shown
    assert main(["show", "silent", *plugin]) == 0
    assert "zoo run --recipe mine/silent\n" in capsys.readouterr().out
    assert main(["list", "recipes", *plugin]) == 0
    assert "  mine/short   A narrow one\n" in capsys.readouterr().out
    assert "mine/short" in zoo.list_recipes(plugins=["mine.toml"])


def test_scores_are_compared_with_the_expected_ones(plugin, capsys):
    assert main(["run", "--recipe", "short", "--expect", *plugin]) == 0
    lines = capsys.readouterr().out.splitlines()
    accuracy, loss = lines[-2:]
    assert accuracy.startswith("accuracy: expected 0.") and accuracy.endswith(": exact")
    assert loss.startswith("loss: expected ") and loss.endswith(": within tolerance (tolerance 0.5)")
    write("0.9", "99.0")
    assert main(["run", "--recipe", "short", "--expect", *plugin]) == 11
    out, err = capsys.readouterr()
    assert [line.endswith((": off (tolerance 0)", ": off (tolerance 0.5)")) for line in out.splitlines()[-2:]] == [
        True
    ] * 2
    assert err.splitlines()[-1].startswith("Error: off: accuracy, loss: the recipe expects other scores")
    assert main(["run", "--recipe", "short", "--expect", "--json", *plugin]) == 11
    out, err = capsys.readouterr()
    told = json.loads(out)["expected"]
    assert [(each["name"], each["expected"], each["verdict"]) for each in told] == [
        ("accuracy", 0.9, "off"),
        ("loss", 99.0, "off"),
    ]
    # Python says the same and raises nothing: the run is done.
    result = zoo.run(recipe="short", expect=True, plugins=["mine.toml"])
    assert [score.got for score in result.expected] == [result.metrics["accuracy"], result.metrics["loss"]]
    assert zoo.run(recipe="short", plugins=["mine.toml"]).expected == ()
    # One score less than a sample away is another score.
    write(repr(result.metrics["accuracy"] + 1e-5), "1.0")
    assert zoo.run(recipe="short", expect=True, plugins=["mine.toml"]).expected[0].verdict == "off"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--expect", "nothing is expected of this run: it follows no recipe. Give one with --recipe"),
        ("--recipe silent --expect", "recipe 'mine/silent' says nothing of its scores. Leave --expect out"),
        (
            "--recipe short --expect --epochs 2 --param hidden_units=9",
            "the scores of recipe 'mine/short' are not those of this run: changed: train.epochs, params.hidden_units. "
            "Leave these out, or --expect",
        ),
        ("--recipe short --expect --seed 8", "changed: train.seed."),
        ("--recipe short --expect --metric top-k", "changed: metrics."),
        ("--recipe short --expect --metric-param top-k.k=3", "changed: metric_params.top-k.k."),
        ("--recipe short --expect --dataset fashionmnist", "changed: dataset."),
        ("--recipe short --expect --seeds 2", "--expect and several seeds were both asked for"),
        ("--recipe short --model zoo/tinyvgg", "recipe 'short' is of model 'mine/tinyvgg', not of 'zoo/tinyvgg'."),
        ("--recipe short --model tinyvgg", "recipe 'short' is of model 'mine/tinyvgg', not of 'tinyvgg'."),
        ("--recipe shrt", "no recipe named 'shrt'. Did you mean 'short'?"),
        ("--recipe tinyvgg", "no recipe named 'tinyvgg'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(plugin, capsys, arguments, line):
    assert main(["run", *plugin, *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and not Path("runs").exists()
    assert f"Error: {line}" in err or line in err
    assert main(["run", "--dry-run", *plugin, *arguments.split()]) == 2


def test_where_a_training_runs_makes_no_other_recipe_of_it(plugin, capsys):
    more = ["--metric", "accuracy", "--metric", "top-k", "--metric", "f1-macro", "--threads", "2", "--workers", "0"]
    assert main(["run", "--recipe", "short", "--expect", "--json", *plugin, *more]) in (0, 11)
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"]["changed"] == ["train.threads", "train.workers"] and len(told["expected"]) == 2


def test_the_courses_recipes_are_those_of_the_shipped_weights():
    specs = [spec for spec in read_manifest(first_party_path()).specs if spec.kind == "recipe"]
    found = {spec.name: spec for spec in specs if spec.name.startswith("course-")}
    assert set(found) == {"course-baseline", "course-relu-mlp", "course-tinyvgg"}
    for spec in found.values():
        metadata = read_metadata(find_weights(f"{spec.model}@{spec.dataset}", open_places(offline=True)))
        assert dict(spec.expect) == metadata["metrics"] and spec.params == metadata["params"]
        trained, told = metadata["train_config"], dict(spec.train)
        assert told.pop("device") == metadata["device"] and told.pop("memory_format") == "contiguous"
        assert told == {key: trained[key] for key in told} and {*trained} - {*told} <= {
            *("momentum", "weight_decay", "device", "workers"),
        }
        hits = round(spec.expect["accuracy"] * 10_000)
        assert f"{hits} of 10,000 right" in spec.description and spec.expect["accuracy"] * 10_000 == pytest.approx(hits)


@pytest.mark.promise("P15")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["course-baseline", "course-relu-mlp"])
def test_the_course_comes_to_its_numbers(name, fashionmnist_root, tmp_path):
    result = zoo.run(recipe=name, expect=True, data_dir=fashionmnist_root, runs_dir=tmp_path)
    assert [score.verdict for score in result.expected] == ["exact", "exact"]
    assert result.recipe is not None and result.recipe.changed == ()
