"""`zoo run --config` and `--dry-run`: one file says all of a run, and the dry run prints such a file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from conftest import QUIET, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo.checks.combination.preview import describe_request
from zoo.cli.main import main
from zoo.records.config import FORMS, read_config, write_config
from zoo.records.runs import read_record
from zoo.registry.places import open_places
from zoo.registry.settings import DEFAULT_LR
from zoo.training.plan import Wanted
from zoo.training.request import make_request
from zoo.training.sources import gather

SMALL = {"train_size": 96, "test_size": 32}
PLUGIN = """
schema = 2

[models.net]
factory = "zoo_plugins.models.baseline:Baseline"
params = { hidden_units = 5 }
train = { epochs = 4, batch_size = 16, optimizer = "adam", lr = 0.003 }

[recipes.mid]
model = "net"
dataset = "shapes"
params = { hidden_units = 6 }
dataset_params = { train_size = 96, test_size = 32 }
metrics = ["accuracy", "top-k"]
metric_params = { top-k = { k = 3 } }
train = { batch_size = 24, weight_decay = 0.25, seed = 9 }
"""


@pytest.fixture(autouse=True)
def in_own_folder(own_folder, monkeypatch):
    monkeypatch.delenv("ZOO_RUNS_DIR")
    (own_folder / "mine.toml").write_text(PLUGIN, encoding="utf-8")
    return own_folder


def put(text, name="exp.toml"):
    Path(name).write_text(text, encoding="utf-8")
    return name


def preview(capsys, *arguments):
    assert main(["run", "--dry-run", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def refuse(capsys, *arguments):
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and not Path("runs").exists()
    return err.splitlines()


FULL = """
model = "baseline"
dataset = "shapes"
metrics = ["top-k", "accuracy"]
course_style = false

[params]
hidden_units = 7

[dataset_params]
train_size = 96
test_size = 32

[metric_params.top-k]
k = 2

[train]
epochs = 1
lr = 0.05
augment = ["flip", { name = "crop", padding = 2 }]
"""


def test_a_file_says_what_options_say(capsys):
    config = put(FULL)
    assert main(["run", "--json", "--config", config]) == 0
    of_file = json.loads(capsys.readouterr().out)
    names = ["--model", "baseline", "--dataset", "shapes", "--metric", "top-k", "--metric", "accuracy"]
    params = ["--param", "hidden_units=7", "--dataset-param", "train_size=96", "--dataset-param", "test_size=32"]
    more = ["--metric-param", "top-k.k=2", "--epochs", "1", "--lr", "0.05", "--augment", "flip, crop:padding=2"]
    assert main(["run", "--json", *names, *params, *more]) == 0
    of_options = json.loads(capsys.readouterr().out)
    of_python = zoo.run(config=config).to_dict()
    same = ("model", "dataset", "params", "dataset_params", "train_config", "metrics", "seed")
    assert {key: of_file[key] for key in same} == {key: of_options[key] for key in same}
    assert {key: of_file[key] for key in same} == {key: of_python[key] for key in same}
    # Whatever form the operations were given in, they are recorded in one.
    assert of_file["train_config"]["augment"] == "flip,crop:padding=2"
    assert set(of_file["metrics"]) == {"loss", "top-k", "accuracy"}


def test_the_stronger_source_wins(capsys):
    config = put("recipe = 'mid'\nplugins = ['mine.toml']\n[train]\nseed = 10\nworkers = 1\n")
    told = preview(capsys, "--config", config, "--workers", "2")
    train, sources = told["values"]["train"], told["sources"]["train"]
    found = {name: (train[name], sources[name]) for name in ("workers", "seed", "batch_size", "epochs", "momentum")}
    assert found == {
        "workers": (2, "given"),
        "seed": (10, "config"),
        "batch_size": (24, "recipe mine/mid"),
        "epochs": (4, "recommended by mine/net"),
        "momentum": (0.0, "default"),
    }
    assert told["values"]["metrics"] == ["accuracy", "top-k"] and told["sources"]["metrics"] == "recipe mine/mid"
    assert told["values"]["params"] == {"hidden_units": 6}
    assert told["sources"]["recipe"] == "config" and told["sources"]["dataset_params"]["seed"] == "default"
    told = preview(capsys, "--config", config, "--param", "hidden_units=8", "--metric", "accuracy")
    assert told["values"]["params"] == {"hidden_units": 8} and told["sources"]["params"] == {"hidden_units": "given"}
    # Params of a metric go with it.
    assert told["values"]["metric_params"] == {"accuracy": {}}


@pytest.mark.parametrize(
    ("text", "options", "lr", "decay"),
    [
        ("", [], 0.003, 0.25),
        ("[train]\noptimizer = 'adam'", [], 0.003, 0.25),
        ("[train]\noptimizer = 'adamw'", [], 0.001, 0.0),
        ("[train]\nlr = 0.5", [], 0.5, 0.25),
        ("[train]\nlr = 0.5", ["--optimizer", "nadam"], DEFAULT_LR["nadam"], 0.0),
        ("[train]\noptimizer = 'nadam'\nlr = 0.5", ["--optimizer", "adam"], 0.003, 0.25),
        ("[train]\noptimizer = 'nadam'\nlr = 0.5", [], 0.5, 0.0),
        ("[train]\nlr = 0.5", ["--optimizer", "sgd", "--lr", "0.7"], 0.7, 0.0),
    ],
)
def test_a_rate_belongs_to_the_optimizer_of_its_source(capsys, text, options, lr, decay):
    told = preview(capsys, "--recipe", "mid", "--plugin", "mine.toml", "--config", put(text), *options)
    assert (told["values"]["train"]["lr"], told["values"]["train"]["weight_decay"]) == (lr, decay)


def test_params_go_with_the_model_and_the_data_they_were_given_for(capsys):
    config = put(FULL)
    told = preview(capsys, "--config", config, "--model", "relu-mlp", "--dataset-param", "train_size=64")
    assert told["values"]["params"] == {"hidden_units": 10}
    assert told["values"]["dataset_params"]["train_size"] == 64 and told["values"]["dataset_params"]["test_size"] == 32
    told = preview(capsys, "--config", config, "--model", "zoo/baseline")
    assert told["values"]["params"] == {"hidden_units": 7}


def test_every_wrong_key_is_told_at_once_with_its_file(capsys):
    config = put(
        "modle = 'x'\nepochs = 3\nseeds = 0\nmodel = 3\ncourse_style = 1\nmetrics = ['a', 2]\nepocks = 3\n"
        "[params]\nday = 1979-05-27\n[train]\nepoch = 3\nlr = 'fast'\nbatch_size = 0\n[metric_params]\nk = 3\n"
    )
    assert [line.removeprefix(f"Error: config {config}: ") for line in refuse(capsys, "--config", config)] == [
        "no key 'modle'. Did you mean 'model'?",
        "no key 'epochs'. It is a setting: write it under [train]",
        "seeds: expected a whole number of at least 1, got 0",
        "model: expected a text, got 3",
        "course_style: expected true or false, got 1",
        "metrics: expected a list of texts, got ['a', 2]",
        "no key 'epocks'. Did you mean 'epochs', under [train]?",
        "params.day: expected plain data (text, true or false, finite numbers of 64 bits, lists and tables of them), "
        "got datetime.date(1979, 5, 27)",
        "metric_params: expected a table for each metric, got {'k': 3}",
        "[train] has no setting 'epoch'. Did you mean 'epochs'?",
        "train.batch_size: must be at least 1, got 0",
        "train.lr: must be a number, got 'fast'",
    ]
    # A setting that is for others is no mistake of a file which another source completes.
    put("[train]\ngamma = 0.5")
    assert preview(capsys, "--config", config, "--schedule", "step")["values"]["train"]["gamma"] == 0.5
    assert refuse(capsys, "--config", config) == ["Error: gamma: is no setting of constant, got 0.5"]
    assert refuse(capsys, "--config", put("[train]\nx = 1"))[0].startswith(
        f"Error: config {config}: [train] has no setting 'x'"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: it is a folder, not a regular file"),
        (os.mkfifo, "cannot be read: it is a pipe, not a regular file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not UTF-8 text (byte 0); save it as UTF-8"),
        (lambda path: path.write_text("lr: 3"), "is not TOML: TOMLDecodeError: "),
        (lambda path: path.write_text("a = " + "[" * 9000), "is not TOML: "),
        (lambda path: path.write_bytes(b" " * 1_000_001), "cannot be read: it has 1000001 bytes, at most 1000000 are"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(capsys, make, said):
    make(Path("exp.toml"))
    (line,) = refuse(capsys, "--config", "exp.toml")
    assert line.startswith(f"Error: config 'exp.toml': {said}") or line.startswith(f"Error: config 'exp.toml' {said}")
    assert main(["check", "--config", "exp.toml"]) == 2


def test_paths_of_plugins_begin_at_the_file(capsys, tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    Path("mine.toml").rename(folder / "mine.toml")
    put("model = 'net'\nplugins = ['mine.toml']", str(folder / "exp.toml"))
    assert preview(capsys, "--config", str(folder / "exp.toml"))["values"]["model"] == "mine/net"
    assert zoo.dry_run(config=folder / "exp.toml").values["plugins"] == [str(folder / "mine.toml")]
    # Given twice it is still one plugin, and a registry of one's own gets it, too.
    options = ["--config", str(folder / "exp.toml"), "--plugin", str(folder / "mine.toml")]
    assert preview(capsys, *options)["values"]["model"] == "mine/net"
    own = zoo.dry_run(config=folder / "exp.toml", registry=zoo.Registry.discover())
    assert own.values["model"] == "mine/net"
    (line,) = refuse(capsys, "--config", put("plugins = ['gone.py']"))
    assert "gone.py': cannot be read: No such file or directory" in line


def test_the_dry_run_prints_a_file_that_asks_for_the_same(capsys):
    config = put(FULL)
    assert main(["run", "--dry-run", "--config", config, "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert not Path("runs").exists()
    lines = out.splitlines()
    assert 'model = "baseline"               # config' in lines
    assert [line.split("#")[1].strip() for line in lines if line.startswith(("seed = 5", "warmup"))] == [
        "default",
        "command line",
    ]
    assert any(line.startswith("# clip is not set") and line.endswith("no limit; default") for line in lines)
    assert any(line.startswith("# parameters: 5,575 (5,575 trained)") for line in lines)
    assert any(line.startswith("# epoch: about ") for line in lines) and "# 96 training samples of 1x28x28" in lines
    again = put(out, "again.toml")
    assert main(["run", "--json", "--config", again]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert main(["run", "--json", "--config", config, "--seed", "5"]) == 0
    of_options = json.loads(capsys.readouterr().out)
    assert of_file["metrics"] == of_options["metrics"] and of_file["train_config"] == of_options["train_config"]


def test_the_dry_run_says_what_needs_data_that_are_not_here(capsys):
    told = preview(capsys, "--dataset", "fashionmnist")
    assert told["data"] == "random inputs of 1x28x28: the files of fashionmnist are not here"
    assert told["estimates"]["epoch_seconds"] > 0
    Path("far.py").write_text(
        "import zoo\n"
        "FILE = zoo.FileSpec(path='far/x', size=1, sha256='0' * 64, urls=('https://example.org/x',))\n"
        "@zoo.dataset(name='far', files=(FILE,))\ndef far(*, root): ...\n",
        encoding="utf-8",
    )
    told = preview(capsys, "--dataset", "far", "--plugin", "far.py")
    assert told["estimates"] == {} and told["data"].startswith("no estimates: dataset 'far' declares no shape")
    assert main(["run", "--dry-run", "--dataset", "far", "--plugin", "far.py"]) == 0
    assert "\n# no estimates: " in capsys.readouterr().out
    # What the run would refuse the dry run refuses.
    assert main(["run", "--dry-run", "--optimizer", "adam", "--momentum", "0.9"]) == 2


def test_several_seeds_may_be_asked_for_by_the_file(capsys):
    config = put("seeds = 2\n[dataset_params]\ntrain_size = 96\ntest_size = 32\n[train]\nepochs = 1\nseed = 7")
    assert main(["run", "--json", "--config", config]) == 0
    assert [run["seed"] for run in json.loads(capsys.readouterr().out)["runs"]] == [7, 8]
    assert [result.seed for result in zoo.run_seeds(config=config, seed=3)] == [3, 4]
    assert [result.seed for result in zoo.run_seeds(1, config=config)] == [7]
    with pytest.raises(zoo.UsageError, match=r"asks for 2 runs, and this is one\. Use zoo\.run_seeds"):
        zoo.run(config=config)
    told = preview(capsys, "--config", config)
    assert told["values"]["seeds"] == 2 and told["sources"]["seeds"] == "config"
    assert preview(capsys, "--config", config, "--seeds", "5")["values"]["seeds"] == 5


def test_weights_to_start_from_and_what_is_frozen(capsys):
    first = zoo.run(dataset_params=SMALL, epochs=1, params={"hidden_units": 6})
    Path("kept").mkdir()
    (first.weights).rename(Path("kept") / "w.safetensors")
    config = put("init = 'w.safetensors'\nfreeze = ['layer_stack.1.*']\n[train]\nepochs = 1", "kept/exp.toml")
    result = zoo.run(config=config)
    record = read_record(result.run / "run.json")
    assert record.init is not None and record.frozen == ("layer_stack.1.*",)
    assert result.params == {"hidden_units": 6} and result.dataset_params["train_size"] == 96
    assert main(["run", "--dry-run", "--init", "@last"]) == 0
    text = capsys.readouterr().out
    table = tomllib.loads(text)
    assert table["init"] == str(result.weights) and table["freeze"] == ["layer_stack.1.*"]
    assert "hidden_units = 6  # weights" in text
    told = zoo.dry_run(init="baseline@fashionmnist", dataset="shapes")
    assert told.values["init"] == "baseline@fashionmnist"


def test_check_takes_a_file(capsys):
    put("model = 'net'\nplugins = ['mine.toml']\n[dataset_params]\ntrain_size = 96\ntest_size = 32")
    assert main(["check", "--config", "exp.toml"]) == 0
    assert capsys.readouterr().out.startswith("net on shapes: 96 training samples")
    assert main(["check", "--recipe", "mid", "--plugin", "mine.toml"]) == 0
    assert capsys.readouterr().out.startswith("net on shapes: 96 training samples")
    put("model = 'soft'\nplugins = ['soft.py']")
    Path("soft.py").write_text(
        "import zoo\nfrom torch import nn\n@zoo.model(name='soft')\ndef soft(*, input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes), nn.Softmax(dim=1))\n",
        encoding="utf-8",
    )
    assert main(["check", "--config", "exp.toml"]) == 5
    assert "Error: plugin 'soft': model 'soft' on dataset 'shapes' is not fit" in capsys.readouterr().err


NAMES = {
    "clip": st.floats(0.1, 9),
    "lr": st.floats(1e-6, 1),
    "epochs": st.integers(0, 99),
    "seed": st.integers(0, 2**63 - 1),
}
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        **NAMES,
        "optimizer": st.sampled_from(["sgd", "adam", "adamw"]),
        "weight_decay": st.floats(0, 1),
        "schedule": st.sampled_from(["constant", "cosine", "step"]),
        "augment": st.sampled_from(["none", "flip", "crop:padding=1,erase:scale=0.02,0.1", ["flip", {"name": "crop"}]]),
        "input_size": st.sampled_from([8, "12x9", (7, 7)]),
        "patience": st.integers(1, 5),
        "device": st.sampled_from(["auto", "cpu"]),
        "threads": st.integers(1, 4),
    },
)


@settings(max_examples=60, suppress_health_check=[*QUIET, HealthCheck.function_scoped_fixture])
@given(
    told=GIVEN,
    stronger=GIVEN,
    units=st.none() | st.integers(1, 99),
    recipe=st.none() | st.just("mid"),
    k=st.integers(1, 9),
    data=st.none() | st.just(SMALL),
)
def test_what_is_printed_reads_as_the_same_plan(tmp_path, told, stronger, units, recipe, k, data):
    places = open_places(None, ["mine.toml"], runs_dir=tmp_path / "runs").settle()
    path = tmp_path / "printed.toml"
    weaker = {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}
    path.write_text(write_config({"train": weaker}, {}), encoding="utf-8")
    asked = Wanted(
        settings={"validation": 0.2, **stronger},
        params=units and {"hidden_units": units},
        metrics=["top-k"],
        metric_params={"top-k": {"k": k}},
        dataset_params=data,
    )
    wanted, there = gather(asked, places, path, recipe)
    request = make_request(wanted, there)
    values, sources = describe_request(request, wanted)
    path.write_text(write_config(values, sources), encoding="utf-8")
    again, there = gather(Wanted(), places, path)
    assert make_request(again, there).plan == request.plan


def test_texts_of_any_kind_are_written_as_toml(tmp_path):
    nasty = ['"', "\\", "\n\t\r\b\f", "\x7f\x00\x1f", "é ☃ 😀", "'''", '"""', "# no comment", "]", ""]
    values = {
        "params": {"texts": nasty, "a b": {"x.y": [1e-300, -0.5, 10**18, True], "é": "ü"}, "empty": {}, "none": None}
    }
    path = tmp_path / "x.toml"
    path.write_text(write_config(values, {"params": {"texts": "two\nlines"}}), encoding="utf-8")
    del values["params"]["none"]
    assert read_config(path).params == values["params"]
    assert "# none is not set" in path.read_text(encoding="utf-8")


def test_the_page_names_every_key_in_its_order_and_its_example_is_one():
    page = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == [*FORMS]
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    told = read_config(put(example))
    assert told.train and told.params and told.metric_params
    assert zoo.dry_run(config="exp.toml").sources["train"]["epochs"] == "config"
