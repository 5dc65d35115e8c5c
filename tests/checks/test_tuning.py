"""`zoo check --tune`: a rate that trains, the same each time, and no trace left of the search for it."""

from __future__ import annotations

import json
import math
import shlex

import pytest
import torch

import zoo
from zoo.checks.combination import tuning
from zoo.checks.combination.tuning import smooth
from zoo.cli.main import main

SMALL = {"train_size": 2000, "test_size": 300}
WORDS = ["--dataset-param", "train_size=2000", "--dataset-param", "test_size=300", "--threads", "1"]


@pytest.mark.parametrize(
    ("model", "settings"),
    [("baseline", {}), ("tinyvgg", {"optimizer": "adam"})],
)
def test_the_suggested_rate_trains_better_than_a_tiny_one_and_one_ten_times_as_high(tmp_path, model, settings):
    settings = {"dataset_params": SMALL, "threads": 1, **settings}
    found = zoo.check(model, tune=True, **settings).tuning

    def train(lr):
        try:
            return zoo.run(model, lr=lr, epochs=3, runs_dir=tmp_path, **settings).metrics["loss"]
        except zoo.DivergedError:
            return math.inf

    assert train(found.lr) < min(train(1e-5), train(10 * found.lr), math.log(10) - 0.2)


def test_it_is_the_same_each_time_and_changes_nothing():
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    settings = {"tune": True, "dataset_params": SMALL, "threads": 1, "optimizer": "adam"}
    first, again = (zoo.check("relu-mlp", **settings).tuning for _ in range(2))
    assert (first.rates, first.losses, first.lr) == (again.rates, again.losses, again.lr)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert zoo.check("relu-mlp", seed=1, **settings).tuning.losses != first.losses
    assert zoo.check("relu-mlp", dataset_params=SMALL, threads=1).tuning is None


def test_rates_rise_evenly_and_the_suggestion_is_a_tenth_of_the_best_one():
    found = zoo.check("relu-mlp", tune=True, dataset_params=SMALL, threads=1, optimizer="adam").tuning
    steps = [later / earlier for earlier, later in zip(found.rates, found.rates[1:], strict=False)]
    assert found.rates[0] == 1e-6 and steps == pytest.approx([1e6 ** (1 / 99)] * len(steps))
    assert found.lowest == found.rates[found.losses.index(min(found.losses))]
    assert found.lr == pytest.approx(found.lowest / 10, rel=0.5) and len(f"{found.lr:.0e}") == 5


def test_smoothing_keeps_a_line_and_its_ends():
    assert smooth([3.0, 2.0, 1.0, 0.0]) == [3.0, 2.0, 1.0, 0.0] and smooth([1.0, 4.0, 1.0])[1] == 2.0


def test_a_model_that_learns_at_no_rate_gets_no_suggestion(own_folder, capsys):
    (own_folder / "deaf.py").write_text(
        "import torch, zoo\n@zoo.model(name='deaf')\nclass Deaf(torch.nn.Module):\n"
        "    def __init__(self, *, input_shape, num_classes):\n        super().__init__()\n"
        "        self.layer = torch.nn.LazyLinear(num_classes)\n"
        "    def forward(self, inputs):\n        return self.layer(inputs.flatten(1)) * 1e-9\n"
    )
    main(["check", "--plugin", "deaf.py", "--model", "deaf", "--tune", *WORDS])
    said = capsys.readouterr()
    assert "no rate of 100 let the loss fall" in said.out and "next:" not in said.err


def test_the_command_that_it_prints_trains_with_that_rate(own_folder, capsys):
    words = ["check", "--tune", "--model", "relu-mlp", "--param", "hidden_units=16", "--optimizer", "adam", *WORDS]
    assert main([*words, "--metric", "f1-macro", "--batch-size", "16", "--output", "rates.png"]) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("next: zoo run")]
    command = shlex.split(line.removeprefix("next: ").partition("  #")[0])[1:]
    assert (own_folder / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--epochs", "1", "--runs-dir", "runs"]) == 0
    (run,) = (own_folder / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["params"] == {"hidden_units": 16} and list(record["metrics"]) == ["loss", "f1-macro"]
    trained = record["train_config"]
    assert (trained["optimizer"], trained["batch_size"]) == ("adam", 16)
    assert f"learning rate  {trained['lr']:g} (loss" in said.out


def test_json_has_it_too(own_folder, capsys):
    assert main(["check", "--tune", "--json", *WORDS]) == 0
    told = json.loads(capsys.readouterr().out)["tuning"]
    assert told["lr"] == 0.1 and len(told["rates"]) == len(told["losses"]) and told["batch_size_by"] == "estimated"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "x.png"], "--output draws what --tune finds. Give --tune, too"),
        (["--tune", "--output", "x.txt"], "expected the name of a .png, .svg or .pdf file"),
        (["--tune", "--dataset", "fashionmnist", "--data-dir", "none"], "tuning trains on dataset 'fashionmnist'"),
    ],
)
def test_what_cannot_be_is_refused(own_folder, capsys, words, said):
    assert main(["check", *words]) == 2
    assert said in capsys.readouterr().err and not (own_folder / "x.png").exists()


def test_the_largest_batch_follows_the_free_memory(monkeypatch):
    sizes = []
    for free in (1 << 20, 1 << 23, 1 << 40):
        monkeypatch.setattr(tuning, "_find_free_memory", lambda free=free: free)
        sizes.append(zoo.check("tinyvgg", tune=True, dataset_params=SMALL, threads=1).tuning.batch_size)
    assert sizes[0] < sizes[1] < sizes[2] == 1024  # the largest power of two in 2000 samples


AUXILIARY = """
from torch import nn

import zoo


@zoo.model(name="two-heads", aux_weights=[0.3])
class TwoHeads(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(784, num_classes) for _ in range(2))

    def forward(self, inputs):
        logits = [head(inputs.flatten(1)) for head in self.heads]
        return tuple(logits) if self.training else logits[0]
"""


def test_it_trains_what_the_run_would(tmp_path):
    (tmp_path / "two.py").write_text(AUXILIARY, encoding="utf-8")
    where = {"tune": True, "dataset_params": SMALL, "threads": 1}
    assert zoo.check("two-heads", plugins=[tmp_path / "two.py"], **where).tuning.lr
    settings = [{}, {"class_weights": [9, *[1] * 9]}, {"head_lr": 0.2}]
    losses = [tuple(zoo.check("relu-mlp", **where, **each).tuning.losses) for each in settings]
    assert len({*losses}) == len(settings)
