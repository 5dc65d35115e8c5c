"""Where a training was going is told from its history, with numbers, and only beyond the noise."""

from __future__ import annotations

import json

import pytest

import zoo
from zoo.cli.main import main
from zoo.training.trend import Noise, find_trend

GUESSING = 2.3026


def make(train, watched, split="test"):
    return [
        {"epoch": number, "train": {"loss": loss}, split: {"loss": score}, "seconds": {"train": 1.0, split: 1.0}}
        for number, (loss, score) in enumerate(zip(train, watched, strict=True), start=1)
    ]


def find(train, watched, error, split="test", comparable=True):
    return find_trend(make(train, watched, split), Noise(error=error, guessing=GUESSING), comparable=comparable)


# Train and test losses of real runs on FashionMNIST at seed 42 with the standard error of their test loss, of the
# course's three models and settings but for the number of epochs.
BASELINE = (
    [0.5904, 0.4763, 0.4550, 0.4425, 0.4358, 0.4291, 0.4248, 0.4227, 0.4203, 0.4175],
    [0.5099, 0.4802, 0.4769, 0.4632, 0.4688, 0.4592, 0.4878, 0.4725, 0.4713, 0.4629],
    0.0096,
)
RELU_MLP = (
    [0.6461, 0.4809, 0.4469, 0.4277, 0.4156, 0.4036, 0.3958, 0.3912, 0.3852, 0.3819],
    [0.5389, 0.4942, 0.4577, 0.4590, 0.4655, 0.4475, 0.4366, 0.4502, 0.4539, 0.4431],
    0.0102,
)
TINYVGG = (
    [0.5905, 0.3637, 0.3260, 0.3040, 0.2926, 0.2818, 0.2739, 0.2677, 0.2606, 0.2563],
    [0.3950, 0.3542, 0.3231, 0.3189, 0.3062, 0.3055, 0.3128, 0.2931, 0.2988, 0.2975],
    0.0080,
)


@pytest.mark.parametrize(
    ("run", "improving"), [(BASELINE, []), (RELU_MLP, [3]), (TINYVGG, [3])], ids=["baseline", "relu-mlp", "tinyvgg"]
)
def test_real_runs_are_told_to_go_on_only_where_going_on_paid(run, improving):
    train, watched, error = run
    for count in range(1, len(train) + 1):
        told = find(train[:count], watched[:count], error)
        assert bool(told) is (count in improving), (count, told)
        if told:
            assert told[0].startswith("still improving") and min(watched[count:]) < watched[count - 1] - error


def test_still_improving_has_its_numbers():
    assert find(*(part[:3] for part in RELU_MLP[:2]), RELU_MLP[2]) == (
        "still improving: the test loss fell from 0.5389 to 0.4577 over epochs 1 to 3; more epochs may do better",
    )


# zoo run --model tinyvgg --dataset-param train_size=200 --epochs 60 --optimizer adam --lr 0.003, epochs 17 to 28.
LEARNT = [0.069, 0.036, 0.024, 0.0109, 0.009, 0.007, 0.006, 0.005, 0.004, 0.003, 0.0027, 0.0018]
KNOWN = [0.371, 0.346, 0.331, 0.3223, 0.325, 0.352, 0.372, 0.381, 0.385, 0.406, 0.3976, 0.3948]


@pytest.mark.parametrize(
    ("split", "advice"), [("test", "with a validation split the best epoch is kept"), ("validation", "")]
)
def test_overfitting_has_its_numbers(split, advice):
    (told,) = find(LEARNT, KNOWN, 0.05, split)
    start = (
        f"overfitting: the {split} loss rose from 0.3223 in epoch 4 to 0.3948 in epoch 12, while the train loss fell "
    )
    assert told.startswith(f"{start}from 0.0109 to 0.0018") and told.endswith(advice)


@pytest.mark.parametrize(
    ("train", "watched", "error"),
    [
        (LEARNT, KNOWN, 0.2),  # the rise is within the error
        (LEARNT[:6], KNOWN[:6], 0.01),  # two epochs say nothing yet
        (LEARNT[:4] + [0.02] * 8, KNOWN, 0.05),  # the train loss rose as well: it is no overfitting
        ([0.5, 0.4, 0.3, 0.2, 0.1, 0.05], [0.5, 0.4, 0.45, 0.9, 0.43, 0.8], 0.01),  # it only jumps about
    ],
)
def test_what_is_no_overfitting_is_not_called_so(train, watched, error):
    assert not find(train, watched, error)


@pytest.mark.parametrize(
    ("train", "watched", "comparable", "told"),
    [
        ([1.372, 1.3689, 1.3687], [1.365, 1.37, 1.372], True, True),
        ([1.372, 1.3689, 1.3687], [1.365, 1.37, 1.372], False, False),  # losses of two kinds
        ([1.5, 1.43, 1.3687], [1.365, 1.37, 1.372], True, False),  # it still falls
        ([0.372, 0.3715, 0.3710], [0.375, 0.37, 0.372], True, False),  # it is low
        ([1.372, 1.3689, 1.3687], [1.665, 1.67, 1.672], True, False),  # the test loss is higher
        ([2.3032, 2.3031, 2.3033], [2.3027, 2.3029, 2.3033], True, False),  # it has learned nothing
    ],
)
def test_underfitting_is_claimed_only_where_it_is_defined(train, watched, comparable, told):
    found = find(train, watched, 0.02, comparable=comparable)
    assert [one.partition(":")[0] for one in found] == (["underfitting"] if told else [])
    if told:
        assert "the train loss of 1.3687 hardly falls any more" in found[0] and "2.3026" in found[0]


def test_a_run_says_it_quietly_and_records_it(own_folder, capsys):
    words = ["run", "--runs-dir", "runs", "--dataset-param", "train_size=2000", "--epochs", "3"]
    assert main([*words, "--model", "relu-mlp", "--lr", "0.1"]) == 0
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if "still improving" in line]
    assert line.startswith("model 'relu-mlp': still improving: the test loss fell from ")
    (run,) = (own_folder / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    losses = [f"{epoch['test']['loss']:.4f}" for epoch in record["history"]]
    page = zoo.report([run], "page.html").read_text()
    assert "relu-mlp@shapes: still improving: the test loss fell from" in page.replace("\u200b", "").replace(
        "<wbr>", ""
    )
    assert f"from {losses[0]} to {losses[2]} over epochs 1 to 3" in record["trend"][0] and record["trend"][0] in line


def test_a_model_that_is_too_small_is_told_to_underfit(tmp_path):
    settings = {"dataset_params": {"train_size": 3000}, "epochs": 46, "lr": 0.05, "runs_dir": tmp_path}
    result = zoo.run("relu-mlp", params={"hidden_units": 1}, **settings)
    assert [one.partition(":")[0] for one in result.trend] == ["underfitting"]
    assert zoo.run("relu-mlp", params={"hidden_units": 10}, **settings).history[-1]["train"]["loss"] < 1  # it is true
