"""The picture of a learning rate: what happened, what was planned, and what cannot be known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.cli.main import main
from zoo.errors import UsageError
from zoo.records.history import Epoch

SIZES = {"train_size": 200, "test_size": 50}


def run(folder: Path, **settings: Any) -> zoo.RunResult:
    return zoo.run(dataset_params=SIZES, runs_dir=folder, lr=0.5, **settings)


def read_lines(result: zoo.RunResult) -> dict[str, list[float]]:
    (axes,) = zoo.plot(result.run, "schedule").axes
    return {str(line.get_label()): [float(value) for value in line.get_ydata()] for line in axes.lines}


def test_the_rates_are_those_of_the_steps(tmp_path: Path) -> None:
    result = run(tmp_path, epochs=3, schedule="cosine", warmup=5, head_lr=1.0, accumulate=2)
    found = read_lines(result)
    assert list(found) == ["learning rate", "learning rate of the head", "end of the warm-up"]
    rates = found["learning rate"]
    assert len(rates) == 12 and rates[:6] == pytest.approx([0.5 * (step + 1) / 6 for step in range(6)])
    assert rates[3::4] == pytest.approx([epoch["lr"] for epoch in result.history])
    assert found["learning rate of the head"] == pytest.approx([2 * rate for rate in rates])


def test_what_was_not_reached_is_told_from_what_was(tmp_path: Path) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, epochs=4, schedule="linear", on_epoch=stop)
    (folder,) = tmp_path.iterdir()
    (axes,) = zoo.plot(folder, "schedule").axes
    ran, planned = axes.lines
    assert ran.get_linestyle() == "-" and planned.get_linestyle() == "--"
    assert list(ran.get_xdata()) == list(range(1, 15)) and list(planned.get_xdata()) == list(range(14, 29))
    assert planned.get_label() == "learning rate, not reached"


def test_a_plateau_shows_what_happened(tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "plateau", "plateau_epochs": 1, "gamma": 0.1, "min_delta": 99.0}
    result = run(tmp_path, epochs=9, validation=0.2, patience=4, warmup=8, **options)
    assert len(result.history) == 5
    rates = read_lines(result)["learning rate"]
    assert len(rates) == 25, "the rates of epochs that never came are not known"
    assert rates[4::5] == pytest.approx([epoch["lr"] for epoch in result.history])
    assert rates[0] == pytest.approx(0.5 / 9) and rates[-1] == pytest.approx(5e-4)
    assert rates[5] == pytest.approx(0.5 * 6 / 9), "the rate falls after the second epoch only"


def test_the_command_writes_the_picture_of_the_function(
    tmp_path: Path, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path, epochs=1)
    assert main(["plot", str(result.run), "--kind", "schedule", "--output", "rate.svg"]) == 0
    zoo.save_figure(zoo.plot_schedule(zoo.read_results([result.run])[0]), "same.svg")
    assert Path("rate.svg").read_bytes() == Path("same.svg").read_bytes()
    assert "baseline@shapes: sgd, constant" in Path("rate.svg").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["plot", str(result.run), str(result.run), "--kind", "schedule", "--output", "two.svg"]) == 2
    assert "schedule: expected one reference, got 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": None}, "does not say how many steps an epoch had"),
        ({"steps": 0}, "does not say how many steps an epoch had"),
        ({"steps": 2_000_000}, "says 4,000,000 steps, expected more than those of the warm-up and at most 2,000,000"),
        ({"train_config": {"epochs": 2, "schedule": "cosine", "warmup": 14}}, "says 14 steps, expected more than"),
        ({"train_config": {"epochs": 2, "schedule": "spiral"}}, "its settings: schedule: must be one of"),
    ],
)
def test_what_a_record_does_not_say_is_not_drawn(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    path = run(tmp_path, epochs=2).run / "run.json"
    table = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(UsageError, match=text):
        zoo.plot(path.parent, "schedule")


def test_weights_alone_have_no_schedule(tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(run(tmp_path, epochs=1).weights.read_bytes())
    with pytest.raises(UsageError, match="it is weights alone"):
        zoo.plot(alone, "schedule")
