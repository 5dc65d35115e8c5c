"""A training that overflows where its loss does not show it ends, and keeps weights of an epoch that can be read."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.training.finite import check_finite, list_infinite

OVERFLOWING = """
import torch
from torch import nn

import zoo

class Overflowing(nn.Sequential):
    def forward(self, inputs):
        if self.training and torch.is_grad_enabled():
            self[1].num_batches_tracked.add_(0)
            if self[1].num_batches_tracked == EPOCH * 20 - 20:
                self[1].running_var.fill_(float("inf"))
        return super().forward(inputs)

@zoo.model(name="overflowing")
def overflowing(*, input_shape, num_classes):
    size = torch.Size(input_shape).numel()
    return Overflowing(nn.Flatten(), nn.BatchNorm1d(size), nn.Linear(size, num_classes))
"""


@pytest.mark.promise("P11")
@pytest.mark.parametrize("epoch", [1, 2])
def test_statistics_that_overflow_end_a_run_whose_loss_is_finite(own_folder, capsys, epoch):
    (own_folder / "mine.py").write_text(OVERFLOWING.replace("EPOCH", str(epoch)))
    words = ["run", "--plugin", "mine.py", "--model", "overflowing", "--epochs", "2", "--batch-size", "32"]
    assert main([*words, "--runs-dir", "runs", "--dataset-param", "train_size=640"]) == 8
    err = capsys.readouterr().err
    (run,) = (own_folder / "runs").iterdir()
    assert f"'1.running_var' of the model has 784 values that are not finite after epoch {epoch}. Give --lr a" in err
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
    if epoch == 1:
        assert "no weights were saved" in err and not (run / "weights.safetensors").exists()
    else:
        assert zoo.load(run, plugins=["mine.py"], verify=True).metadata["model"] == "overflowing"


def test_what_was_infinite_before_is_no_divergence():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("large", torch.tensor(1e300, dtype=torch.float64))
    known = list_infinite(model)
    assert known == ["mask"]
    check_finite(model, known, 1)
    model[0].weight.data[1, 1] = torch.nan
    with pytest.raises(zoo.DivergedError, match=r"'0.weight' .* 1 value that is not finite after epoch 3"):
        check_finite(model, known, 3)
    assert list_infinite(nn.Flatten()) == []
