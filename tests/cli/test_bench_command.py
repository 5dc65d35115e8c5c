"""`zoo bench`: what is measured of each way to compute, on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.checks.combination.bench import _Subject
from zoo.cli.main import main

SMALL = ["--dataset", "shapes", "--dataset-param", "train_size=640", "--dataset-param", "test_size=64"]


def test_every_way_that_is_open_is_measured(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--seconds", "0.02", "--trace", "steps.json", "--output", "speeds.svg", "--json"]
    assert main(["bench", "--model", "tinyvgg", *SMALL, *more]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    ways = {(speed["mode"], speed["memory_format"]) for speed in found["speeds"]}
    assert ways == {(mode, layout) for mode in ("eager", "captured") for layout in ("contiguous", "channels_last")}
    (chosen,) = [speed for speed in found["speeds"] if speed["chosen"]]
    assert (chosen["mode"], chosen["memory_format"]) == ("captured", "channels_last")
    for speed in found["speeds"]:
        assert min(speed["training"], speed["evaluation"], speed["prediction"]) > 0
        assert sum(speed["shares"].values()) == pytest.approx(1) and speed["shares"]["backward"] > 0
        assert (speed["shares"]["forward"] > 0) == (speed["mode"] == "eager")
    trace = json.loads(Path("steps.json").read_text(encoding="utf-8"))
    assert any("convolution" in event.get("name", "") for event in trace["traceEvents"])
    picture = Path("speeds.svg").read_text(encoding="utf-8")
    assert {f"step {number}" for number in range(1, 6)} <= {event.get("name") for event in trace["traceEvents"]}
    assert "* captured, channels last" in picture and "prediction" in picture
    assert "picture: speeds.svg" in err and "trace: steps.json" in err
    assert sorted(path.name for path in own_folder.iterdir()) == ["speeds.svg", "steps.json"], "a run was kept"


def test_what_settings_say_is_not_varied(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--threads", "1", "--memory-format", "contiguous", "--no-capture", "--seconds", "0.01"]
    assert main(["bench", "--model", "baseline", *SMALL, *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    title, (rates, measured), about, (parts, shares) = lines[0], lines[1:3], lines[4], lines[5:]
    assert title == "baseline on shapes, batches of 32, cpu: samples a second, * as in a run"
    assert rates.split() == ["step", "layout", "threads", "training", "evaluation", "prediction", "memory"]
    assert about == "parts of a training step" and parts.split()[3:] == ["data", "forward", "backward", "update"]
    assert measured.split()[:3] == shares.split()[:3] == ["eager*", "contiguous", "1"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--seconds", "0"], "seconds: must be above 0, got 0"),
        (["--processes", "2"], "processes: must be 1"),
        (["--trace", "none/steps.json"], "cannot write to none"),
        (["--output", "none/speeds.svg"], "cannot write to none"),
        (["--trace", "."], "it is a folder"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_measured(
    given: list[str], told: str, own_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Subject, "measure", None)
    assert main(["bench", *SMALL, *given]) in (2, 7)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and told in err and not list(own_folder.iterdir())


def test_what_there_is_to_be_said_of_the_data_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--dataset-param", "train_size=20", "--dataset-param", "test_size=10", "--threads", "1"]
    assert main(["bench", *few, "--seconds", "0.01"]) == 0
    out, err = capsys.readouterr()
    assert "batches of 20" in out and "channels last" in out
    assert err.count("a batch holds 20") == 1


@pytest.mark.slow
def test_compiled_steps_are_measured_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--threads", "1", "--memory-format", "contiguous", "--compile", "--seconds", "0.01", "--json"]
    assert main(["bench", "--model", "baseline", *SMALL, *given]) == 0
    speeds = json.loads(capsys.readouterr().out)["speeds"]
    assert [(speed["mode"], speed["chosen"]) for speed in speeds] == [
        ("eager", False),
        ("captured", False),
        ("compiled", True),
    ]
    assert speeds[2]["shares"]["forward"] == 0 and speeds[2]["training"] > 0


def test_a_model_that_cannot_be_captured_runs_as_it_is(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("counting.py").write_text(
        "import torch, zoo\n"
        "@zoo.model(name='counting')\n"
        "class Counting(torch.nn.Module):\n"
        "    def __init__(self, *, input_shape, num_classes):\n"
        "        super().__init__()\n"
        "        self.layer, self.calls = torch.nn.Linear(torch.Size(input_shape).numel(), num_classes), 0\n"
        "    def forward(self, inputs):\n"
        "        self.calls += 1\n"
        "        return self.layer(inputs.flatten(1))\n"
    )
    given = ["--plugin", "counting.py", "--model", "counting", "--threads", "1", "--memory-format", "contiguous"]
    assert main(["bench", *given, *SMALL, "--seconds", "0.01", "--json"]) == 0
    (speed,) = json.loads(capsys.readouterr().out)["speeds"]
    assert speed["mode"] == "eager" and speed["chosen"]
