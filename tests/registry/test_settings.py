from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import FrozenInstanceError, asdict

import pytest
from conftest import ROOT

from zoo.errors import SettingError, SeveralErrors, UnknownSettingError, ZooError
from zoo.registry.settings import DEFAULT_LR, list_settings, resolve_config

OPTIMIZERS = ", ".join(map(repr, list(DEFAULT_LR)[:-1]))


def problem(recommended=(), **given):
    with pytest.raises(ZooError) as caught:
        resolve_config(dict(recommended), given)
    assert caught.value.exit_code == 2
    return caught.value


def test_defaults_are_those_of_the_course():
    assert asdict(resolve_config({}, {})) == {
        "epochs": 3,
        "batch_size": 32,
        "lr": 0.1,
        "head_lr": None,
        "optimizer": "sgd",
        "optimizer_params": None,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "decay_all": False,
        "schedule": "constant",
        "warmup": 0,
        "step_epochs": 1,
        "plateau_epochs": 3,
        "gamma": 0.1,
        "unfreeze_at": None,
        "accumulate": 1,
        "clip": None,
        "clip_value": None,
        "ema": None,
        "loss": "cross-entropy",
        "loss_params": None,
        "label_smoothing": 0.0,
        "class_weights": None,
        "balanced_sampling": False,
        "memory_format": "auto",
        "precision": "fp32",
        "tf32": False,
        "augment": "none",
        "erase": None,
        "mixup": None,
        "cutmix": None,
        "validation": 0.0,
        "split_seed": 0,
        "monitor": "loss",
        "patience": None,
        "min_delta": 0.0,
        "on_collapse": "warn",
        "input_size": None,
        "seed": 42,
        "device": "auto",
        "threads": None,
        "workers": None,
        "processes": None,
        "sync_batchnorm": False,
        "capture": True,
        "compile": False,
    }


def test_text_is_converted_to_the_annotated_type():
    texts = {"epochs": "5", "lr": "1e-3", "momentum": "0.9", "seed": "9223372036854775807", "threads": "2"}
    config = resolve_config({}, texts)
    assert (config.epochs, config.lr, config.momentum, config.seed, config.threads) == (5, 0.001, 0.9, 2**63 - 1, 2)
    assert [type(getattr(config, name)) for name in texts] == [int, float, float, int, int]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 100_000),
        ("batch_size", 1),
        ("lr", 5e-324),
        ("momentum", 0),
        ("momentum", 0.999),
        ("weight_decay", 0),
        ("seed", 0),
        ("seed", 2**63 - 1),
        ("threads", 1),
        ("workers", 0),
        ("workers", 1024),
    ],
)
def test_the_ends_of_the_ranges_are_good(name, value):
    assert getattr(resolve_config({}, {name: value}), name) == value
    assert getattr(resolve_config({}, {name: str(value)}), name) == value


BAD = {
    "epochs": [-1, "-1", 1_000_001, 1.5, "1.5", "three", "", True, float("nan"), [3], 10**400],
    "batch_size": [0, -1, "0", 0.5, True, "32x"],
    "lr": [0, -0.1, "0", "-1", float("nan"), "nan", float("inf"), "inf", "-inf", "1e400", "fast", True, "0,1", {}],
    "optimizer": ["sgdd", "", "SGD", 1, True, ["sgd"]],
    "momentum": [-0.1, 1, 1.5, "nan", "1e400", True],
    "weight_decay": [-1e-9, "nan", "inf", True],
    "seed": [-1, "-1", 1.5, "1.5", 2**63, 2**64, str(2**63), "9" * 5000, True, False, "seed", float("nan")],
    "device": [0, True],
    "threads": [0, -1, 4097, 1.5, True],
    "workers": [-1, 1025, 0.5, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_what_is_out_of_range_is_refused(name, value):
    error = problem(**{name: value})
    assert isinstance(error, SettingError)
    assert str(error).startswith(f"{name}: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"lr": -1}, "lr: must be above 0.0, got -1"),
        ({"lr": "1e400"}, "lr: must be finite, got '1e400'"),
        ({"lr": "fast"}, "lr: must be a number, got 'fast'"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
        ({"seed": 2**63}, "seed: must be below 9223372036854775808, got 9223372036854775808"),
        ({"seed": 1.5}, "seed: must be a whole number, got 1.5"),
        ({"seed": True}, "seed: expected a number, got True"),
        ({"workers": 1025}, "workers: must be at most 1024, got 1025"),
        ({"optimizer": "adamm"}, f"optimizer: must be one of {OPTIMIZERS} or 'rprop', got 'adamm'"),
        ({"device": 0}, "device: must be text, got 0"),
        ({"momentum": 0.9, "optimizer": "adam"}, "momentum: is a setting of sgd, not of adam, got 0.9"),
    ],
)
def test_a_problem_says_what_was_expected_and_got(given, text):
    assert str(problem(**given)) == text


def test_all_problems_are_reported_at_once():
    error = problem(epochs=-1, lr="nan", seed=1.5, batchsize=3, bogus=1)
    assert isinstance(error, SeveralErrors)
    assert sorted(type(each).__name__ for each in error.problems) == ["SettingError"] * 3 + ["UnknownSettingError"] * 2
    assert sorted(str(each).split(":")[0] for each in error.problems[2:]) == ["epochs", "lr", "seed"]
    assert str(error).count("\n") == 4


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learning_rate", "lr"),
        ("learning-rate", "lr"),
        ("batch", "batch_size"),
        ("bs", "batch_size"),
        ("num_epochs", "epochs"),
        ("n_epochs", "epochs"),
        ("num_workers", "workers"),
        ("optim", "optimizer"),
        ("wd", "weight_decay"),
        ("random_seed", "seed"),
        ("epoch", "epochs"),
        ("momentun", "momentum"),
        ("Seed", "seed"),
    ],
)
def test_an_unknown_name_comes_with_the_one_meant(name, meant):
    error = problem(**{name: 1})
    assert isinstance(error, UnknownSettingError)
    assert str(error) == f"training has no setting {name!r}. Did you mean {meant!r}?"


def test_an_unknown_name_like_no_other_comes_with_all_names():
    assert str(problem(xyzzy=1)).endswith(f"Known: {', '.join(list_settings())}")


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.1), ("adam", 0.001), ("adamw", 0.001)])
def test_the_default_learning_rate_is_that_of_the_optimizer(optimizer, lr):
    assert resolve_config({}, {"optimizer": optimizer}).lr == lr
    assert resolve_config({"optimizer": optimizer}, {}).lr == lr
    assert resolve_config({"optimizer": optimizer}, {"lr": 0.5}).lr == 0.5


def test_given_wins_over_recommended_over_default():
    recommended = {"epochs": 7, "lr": 0.03, "momentum": 0.9, "weight_decay": 0.01, "batch_size": 64}
    config = resolve_config(recommended, {"lr": 0.5, "epochs": None, "seed": None})
    assert (config.epochs, config.lr, config.momentum, config.weight_decay) == (7, 0.5, 0.9, 0.01)
    assert (config.batch_size, config.seed) == (64, 42)


def test_what_belongs_to_the_recommended_optimizer_does_not_follow_another():
    recommended = {"epochs": 7, "optimizer": "sgd", "lr": 0.03, "momentum": 0.9, "weight_decay": 0.01}
    config = resolve_config(recommended, {"optimizer": "adam"})
    assert (config.epochs, config.lr, config.momentum, config.weight_decay) == (7, 0.001, 0.0, 0.0)
    assert resolve_config(recommended, {"optimizer": "adam", "weight_decay": 0.5}).weight_decay == 0.5
    same = resolve_config(recommended, {"optimizer": "sgd"})
    assert (same.lr, same.momentum, same.weight_decay) == (0.03, 0.9, 0.01)
    # Recommended without an optimizer means for the default one.
    assert resolve_config({"momentum": 0.9, "lr": 0.03}, {"optimizer": "adamw"}).lr == 0.001
    back = resolve_config({"optimizer": "adamw", "lr": 0.5, "weight_decay": 0.1}, {"optimizer": "sgd"})
    assert (back.lr, back.weight_decay) == (0.1, 0.0)


def test_a_bad_recommendation_is_a_problem_too():
    assert str(problem({"lr": -1})) == "lr: must be above 0.0, got -1"
    assert isinstance(problem({"learnrate": 1}), UnknownSettingError)


def test_settings_do_not_change_afterwards():
    config = resolve_config({}, {})
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0
    recommended, given = {"epochs": 2, "optimizer": "sgd", "lr": 1}, {"optimizer": "adam", "seed": None}
    resolve_config(recommended, given)
    assert (recommended, given) == (
        {"epochs": 2, "optimizer": "sgd", "lr": 1},
        {"optimizer": "adam", "seed": None},
    )


ADDED = '    warmth: float = setting(0.5, "How warm it is.", metavar="X", ge=0, le=1)\n'
WITH_THE_ADDED = """
import contextlib, io, json, sys
import zoo
from zoo.cli.main import main

def call(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words])
    return [code, out.getvalue(), err.getvalue()]

small = ["--dataset-param", "train_size=20", "--dataset-param", "test_size=20"]
said = {
    "helps": [call(command, "--help")[1] for command in ("run", "check")],
    "run": call("run", "--epochs", "0", "--warmth", "0.25", *small, "--json"),
    "bad": call("run", "--warmth", "2"),
    "python": zoo.run(epochs=0, dataset_params={"train_size": 20, "test_size": 20}).train_config["warmth"],
}
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_setting_is_one_entry_in_one_file(tmp_path, warm_python):
    for part in ("zoo", "plugins", "registry.toml"):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / part)
    file = tmp_path / "zoo" / "registry" / "settings.py"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("    workers: int |", f"{ADDED}    workers: int |"), encoding="utf-8")
    done = subprocess.run(
        [warm_python, "-c", WITH_THE_ADDED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(tmp_path / "plugins")])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert all("--warmth X" in text and "How warm it is.  [0.5]" in text for text in said["helps"])
    code, out, err = said["run"]
    assert code == 0, err
    run = json.loads(out)
    assert run["train_config"]["warmth"] == 0.25
    assert json.loads((tmp_path / run["run"] / "run.json").read_bytes())["train_config"]["warmth"] == 0.25
    assert said["bad"][0] == 2 and "warmth: must be at most 1.0, got '2'" in said["bad"][2]
    assert said["python"] == 0.5


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "none"),
        (["flip"], "flip"),
        (("flip", {"name": "crop", "padding": 2}), "flip,crop:padding=2"),
        ([{"name": "erase", "scale": [0.02, 0.2], "p": 1.0, "x": True}], "erase:scale=0.02,0.2:p=1:x=true"),
        (["flip,crop:padding=1", "erase"], "flip,crop:padding=1,erase"),
        ("flip, crop", "flip, crop"),
    ],
)
def test_operations_may_be_a_list(given, text):
    assert resolve_config({"augment": given}, {}).augment == text


@pytest.mark.parametrize("given", [[3], [""], [{}], [{"padding": 2}], [{"name": 3}], [["flip"]], [None]])
def test_what_is_no_operation_is_refused(given):
    error = problem(augment=given)
    assert str(error).startswith(
        "augment: must be operations, flip say, or tables such as {name = 'crop', padding = 2}"
    )


@pytest.mark.parametrize("given", [3, {"name": "flip"}, True])
def test_what_is_no_list_is_refused(given):
    assert str(problem(augment=given)).startswith("augment: must be text")


@pytest.mark.parametrize(
    ("sources", "lr"),
    [
        ([{"lr": 0.5}, {}, {}], 0.5),
        ([{"lr": 0.5}, {"optimizer": "sgd"}, {}], 0.5),
        ([{"lr": 0.5}, {"optimizer": "adam"}, {"optimizer": "sgd"}], 0.5),
        ([{"optimizer": "adam", "lr": 0.5}, {"lr": 0.4}, {}], 0.4),
        ([{"optimizer": "adam", "lr": 0.5}, {"lr": 0.4}, {"optimizer": "sgd"}], 0.1),
        ([{"optimizer": "adam", "lr": 0.5}, {"lr": 0.4, "optimizer": "sgd"}, {"optimizer": "adam"}], 0.5),
        ([{}, {"optimizer": "adam"}, {"lr": 0.3}], 0.3),
        ([], 0.1),
    ],
)
def test_of_several_sources_the_last_wins_with_its_optimizer(sources, lr):
    assert resolve_config(*sources).lr == lr
