"""The size that images are brought to: asked for, checked before training, recorded, and repeated."""

from __future__ import annotations

import json
import shlex

import pytest

import zoo
from zoo.cli.main import main

SMALL = ["--epochs", "1", "--dataset-param", "train_size=64", "--dataset-param", "test_size=32"]


def run(capsys, *arguments):
    assert main(["run", "--json", *SMALL, *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.promise("P15")
@pytest.mark.parametrize(("given", "size"), [("20", [20, 20]), ("20x32", [20, 32])])
def test_a_run_repeats_with_the_command_that_show_prints(capsys, given, size):
    first = run(capsys, "--model", "tinyvgg", "--input-size", given)
    assert first["train_config"]["input_size"] == size
    assert zoo.load(first["run"]).input_shape == (1, *size)
    assert main(["show", first["run"]]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "repeat with" in line]
    assert f"--input-size {size[0]}x{size[1]}" in line
    assert main([*shlex.split(line)[3:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == first["metrics"]
    assert main(["show", first["run"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repeat"] == line.split("repeat with")[1].strip()


def test_weights_to_start_from_are_used_at_another_size(capsys):
    options = ["--init", "tinyvgg@fashionmnist", "--dataset", "shapes"]
    assert zoo.load(run(capsys, *options)["run"]).input_shape == (1, 28, 28)
    predictor = zoo.load(run(capsys, *options, "--input-size", "32")["run"])
    assert predictor.input_shape == (1, 32, 32) and predictor.image["shape"] == (1, 28, 28)


@pytest.mark.parametrize("given", [24, "24", "24x24", (24, 24), [24, 24]])
def test_python_takes_a_number_a_text_or_a_pair(given):
    small = {"epochs": 0, "dataset_params": {"train_size": 64, "test_size": 32}}
    result = zoo.run(model="baseline", input_size=given, **small)
    assert tuple(result.train_config["input_size"]) == (24, 24)
    assert zoo.TrainConfig(input_size=given).input_size == (24, 24)


@pytest.mark.parametrize("given", ["0", "x", "", "12x", "1x2x3", "-3", "2.5", "1048577", 0, True, 2.5, (1, 2, 3), {}])
def test_what_is_no_size_is_refused(given):
    with pytest.raises(zoo.SettingError, match=r"input_size: must be a size such as 64 or 48x64, height first"):
        zoo.TrainConfig(input_size=given)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--model", "torchvision/inception_v3", "--input-size", "64"],
            "needs inputs of 3x299x299, got 1x64x64. Give an input size that it takes, or none",
        ),
        (["--input-size", "1000000"], "input_size: an input of 1x1000000x1000000 has too many values"),
    ],
)
def test_a_size_that_cannot_be_is_refused_before_anything_is_loaded(capsys, arguments, line, tmp_path):
    # The data set has no files there, and may not fetch them.
    options = ["--dataset", "fashionmnist", "--data-dir", str(tmp_path), "--offline", "--runs-dir", str(tmp_path / "r")]
    assert main(["run", *options, *arguments]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
