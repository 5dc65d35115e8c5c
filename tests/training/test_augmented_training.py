"""A run with augmentation is the loop one writes by hand with `zoo.augment`, and evaluates images as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.data.order import epoch_order

SMALL = {"train_size": 200, "test_size": 50}


def train_by_hand(operations: str) -> dict[str, Any]:
    images, targets = zoo.load_dataset("shapes", params=SMALL).train
    model = zoo.create_model("baseline", input_shape=(1, 28, 28), num_classes=10, seed=42)
    optimizer, augment = torch.optim.SGD(model.parameters(), lr=0.1), zoo.augment.parse(operations)
    for epoch in range(2):
        for indices in epoch_order(200, 42, epoch).split(32):
            inputs = augment(images[indices], indices, epoch=epoch, seed=42) / 255
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets[indices]).backward()
            optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("operations", ["flip", "flip,crop:padding=2,erase:p=0.4"])
def test_a_run_gives_the_bits_of_the_loop_by_hand(operations: str, tmp_path: Path) -> None:
    where = {"dataset_params": SMALL, "epochs": 2, "threads": 1, "runs_dir": tmp_path}
    result = zoo.run("baseline", "shapes", augment=operations, **where)
    expected, plain = train_by_hand(operations), zoo.run("baseline", "shapes", **where)
    for name, value in load_file(result.weights).items():
        assert torch.equal(value, expected[name]), name
    assert result.train_config["augment"] == operations and plain.train_config["augment"] == "none"
    assert result.metrics["loss"] != plain.metrics["loss"]
    # Images are evaluated, measured and kept as they are.
    assert zoo.load(result.weights).weights.statistics == zoo.load(plain.weights).weights.statistics


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("flp", "Error: no augmentation named 'flp'. Did you mean 'flip'?"),
        ("flip,mixup,cutmix", "Error: augmentation 'mixup': mixes whole images, so it comes last"),
        ("crop:paddin=2", "paddin"),
    ],
)
def test_operations_are_checked_before_anything_is_loaded(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--augment", text, "--runs-dir", str(tmp_path)]) == 2
    assert line in capsys.readouterr().err and not list(tmp_path.iterdir())
