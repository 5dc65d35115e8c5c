"""What is wrong with a model is said: in Python, after `zoo run` and after `zoo evaluate`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy
import pytest
import torch

import zoo
from zoo.cli.main import main
from zoo.training.predictions import OutcomeOrigin, Outcomes
from zoo.training.verdict import find_verdict

SMALL = {"train_size": 640, "test_size": 200}
SIZES = ["--dataset-param", "train_size=640", "--dataset-param", "test_size=200"]


def make(targets: list[int], predictions: list[int], classes: int = 10) -> Outcomes:
    sure = numpy.ones(len(targets))
    return Outcomes(
        targets=targets,
        predictions=predictions,
        target_probabilities=sure,
        probabilities=sure,
        class_names=tuple(f"class {index}" for index in range(classes)),
        origin=OutcomeOrigin(model="m", dataset="d", split="test"),
    )


EVEN = [index % 10 for index in range(100)]
GUESSED = torch.randint(0, 10, (100,), generator=torch.Generator().manual_seed(3)).tolist()


@pytest.mark.parametrize(
    ("targets", "predictions", "loss", "told"),
    [
        (EVEN, EVEN, 0.1, []),
        (EVEN, EVEN, 2.3, []),
        (EVEN, [8] * 100, 2.3, ["it predicts 'class 8' for all 100 test samples: it has learned nothing"]),
        (EVEN, GUESSED, 2.3, ["it is right 12 times of 100: always predicting 'class 0' gives 10"]),
        (
            EVEN,
            [min(target, 6) for target in EVEN],
            0.5,
            ["it never predicts 3 of 10 classes: 'class 7', 'class 8', 'class 9'"],
        ),
        (
            EVEN,
            [min(target, 5) for target in EVEN],
            0.5,
            ["it never predicts 4 of 10 classes: 'class 6', 'class 7', 'class 8' and 1 more"],
        ),
        (
            EVEN,
            EVEN,
            819_684.0,
            [
                "its test loss of 8.197e+05 is above 2.303, that of guessing among 10 classes: "
                "it is sure of wrong answers"
            ],
        ),
        # A few samples, or those of one class, say nothing.
        (EVEN[:20], [0] * 20, 9.0, []),
        ([4] * 50, [4] * 50, 0.1, []),
    ],
)
def test_each_fault_has_its_sentence(targets: list[int], predictions: list[int], loss: float, told: list[str]) -> None:
    assert list(find_verdict(make(targets, predictions), loss)) == told


def test_the_largest_class_is_what_a_model_must_beat() -> None:
    targets = [0] * 90 + [1] * 10
    assert find_verdict(make(targets, [0] * 85 + [1] * 15, classes=2), 0.3) != ()
    assert find_verdict(make(targets, targets, classes=2), 0.3) == ()


def test_a_run_that_learned_nothing_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        bad = zoo.run("tinyvgg", "shapes", epochs=1, lr=1e-6, dataset_params=SMALL, runs_dir=tmp_path)
    (message,) = caplog.messages
    assert message.startswith("model 'tinyvgg': it predicts '") and "for all 200 test samples" in message
    assert message.endswith("Try a smaller learning rate, another number of epochs or another model")
    assert json.loads((bad.run / "run.json").read_text())["verdict"] == list(bad.verdict)
    assert zoo.evaluate(bad.run).verdict == bad.verdict
    # The default run of a good model has nothing to say, and neither has an untrained one.
    caplog.clear()
    good = zoo.run("baseline", "shapes", runs_dir=tmp_path)
    untrained = zoo.run("baseline", "shapes", epochs=0, dataset_params=SMALL, runs_dir=tmp_path)
    assert good.verdict == untrained.verdict == ()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "verdict" not in json.loads((good.run / "run.json").read_text())
    assert main(["evaluate", str(bad.run)]) == 0
    assert "Warning: model 'tinyvgg': it predicts '" in capsys.readouterr().err


def test_a_loss_that_is_out_of_hand_is_told_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--runs-dir", str(tmp_path)]
    assert main(["run", "--lr", "1.5", "--epochs", "1", *SIZES, *where]) == 0
    said = capsys.readouterr().err
    assert "Warning: model 'baseline': " in said and "that of guessing among 10 classes" in said
