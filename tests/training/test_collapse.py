"""A training that goes wrong is told early: gradients that are no numbers, and a model that sits at chance."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from zoo.cli.main import main
from zoo.errors import DivergedError
from zoo.training.collapse import ClassPairs, is_stuck
from zoo.training.losses import Losses

STUCK = """
import torch, zoo

@zoo.model(name="stuck")
class Stuck(torch.nn.Module):
    '''Learns nothing for so many batches, whatever it sees.'''

    def __init__(self, *, input_shape, num_classes, batches: int = 10**9):
        super().__init__()
        self.layer = torch.nn.LazyLinear(num_classes)
        self.batches = batches
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs):
        if self.training:
            self.seen += 1
        logits = self.layer(inputs.flatten(1))
        if int(self.seen) > self.batches:
            return logits
        return logits * 0 + torch.arange(logits.shape[1]) * 1e-4
"""
SIZES = ["--dataset-param", "train_size=1000", "--dataset-param", "test_size=50", "--batch-size", "1", "--lr", "0.001"]


def run_stuck(own_folder, *options):
    (own_folder / "stuck.py").write_text(STUCK)
    return main(["run", "--plugin", "stuck.py", "--model", "stuck", "--runs-dir", "runs", *SIZES, *options])


def read_record(own_folder):
    (run,) = (own_folder / "runs").iterdir()
    return json.loads((run / "run.json").read_text())


@pytest.mark.parametrize("options", [[], ["--on-collapse", "warn"]])
def test_a_stuck_model_is_warned_of_once_and_trained_to_the_end(own_folder, capsys, options):
    assert run_stuck(own_folder, "--epochs", "4", *options) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "stuck at chance" in line]
    assert len(told) == 1 and "after 1 epoch: it predicts one class for all test samples" in told[0]
    assert "its loss of 2.3026 is that of guessing" in told[0]
    assert len(read_record(own_folder)["history"]) == 4


def test_stop_ends_it_after_as_many_steps_again_and_keeps_what_is_there(own_folder, capsys):
    assert run_stuck(own_folder, "--epochs", "9", "--on-collapse", "stop", "--validation", "0.05") == 8
    err = capsys.readouterr().err
    assert "the training is stuck at chance after 3 epochs: it predicts one class for all validation samples" in err
    record = read_record(own_folder)
    assert (record["status"], len(record["history"])) == ("diverged", 3) and "stuck at chance" in record["error"]
    assert record["train_config"]["on_collapse"] == "stop"
    (run,) = (own_folder / "runs").iterdir()
    assert (run / "weights.safetensors").is_file() and len((run / "history.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(("batches", "warned"), [(700, False), (1100, True)])
def test_one_that_recovers_is_never_stopped(own_folder, capsys, batches, warned):
    options = ["--epochs", "3", "--on-collapse", "stop", "--param", f"batches={batches}"]
    assert run_stuck(own_folder, *options) == 0
    assert ("stuck at chance" in capsys.readouterr().err) is warned


@pytest.mark.parametrize(("options", "epochs"), [(["--warmup", "1500"], 3), (["--accumulate", "2"], 2)])
def test_the_warm_up_and_batches_without_a_step_do_not_count(own_folder, capsys, options, epochs):
    assert run_stuck(own_folder, "--epochs", "4", *options) == 0
    assert f"stuck at chance after {epochs} epochs:" in capsys.readouterr().err


def collect(targets, predictions, classes=10):
    collector = ClassPairs()
    collector.update(nn.functional.one_hot(torch.tensor(predictions), classes).float(), torch.tensor(targets))
    return collector


def test_chance_knows_how_frequent_the_classes_are():
    rare = [0] * 90 + [1] * 10  # their entropy is 0.325
    assert is_stuck(collect(rare, [0] * 100), 0.326)
    assert not is_stuck(collect(rare, [0] * 100), 0.2)  # it has learned which samples are likelier to be rare
    assert not is_stuck(collect(rare, [0] * 99 + [1]), 0.326)
    assert not is_stuck(collect([0] * 100, [0] * 100), 0.0)
    assert not is_stuck(collect([0, 1] * 5, [0] * 10), 0.7)  # too few to say


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_norm_that_is_no_number_is_told_with_its_step(device):
    losses = Losses(torch.device(device))  # on "meta" losses wait, as on an accelerator
    good, bad = torch.tensor(0.5), torch.tensor(float("inf"))
    with pytest.raises(DivergedError, match="the norm of the gradients became inf at step 3 of epoch 1"):
        for norm in (good, good, bad, good):
            losses.add(torch.tensor(2.0), 4, norm)
        losses.add(torch.tensor(float("nan")), 4, good)
        losses.mean()


def test_losses_that_wait_are_counted_as_the_others_are_with_and_without_norms():
    for norm in (None, torch.tensor(1.0)):
        now, later = Losses(torch.device("cpu")), Losses(torch.device("meta"))
        for losses in (now, later):
            for value in (1.0, 2.0, 4.0):
                losses.add(torch.tensor(value), 2, norm)
            losses.watch(norm)
        assert now.mean() == later.mean() == pytest.approx(7 / 3)


OVERFLOW = """
import torch, zoo

class Explode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")

@zoo.model(name="explosive")
class Explosive(torch.nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layer = torch.nn.LazyLinear(num_classes)
        self.calls = 0

    def forward(self, inputs):
        logits = self.layer(inputs.flatten(1))
        if self.training and torch.is_grad_enabled():
            self.calls += 1
            if self.calls == 8:
                return Explode.apply(logits)
        return logits
"""


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("options", "said"), [(["--clip", "1"], "norm of the gradients became"), ([], "loss became nan")]
)
def test_gradients_that_overflow_end_a_run_at_their_step(own_folder, capsys, options, said):
    (own_folder / "explosive.py").write_text(OVERFLOW)
    words = ["run", "--plugin", "explosive.py", "--model", "explosive", "--epochs", "1", *options]
    assert main([*words, "--runs-dir", "runs", "--dataset-param", "train_size=640"]) == 8
    err = capsys.readouterr().err
    assert said in err and "Give --lr a lower value. 0 of 1 epochs are recorded" in err
    (run,) = (own_folder / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
