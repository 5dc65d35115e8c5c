"""Compiled steps: the numbers of ordinary ones within a tolerance, the same ones each time, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from torch import nn

from zoo.cli.main import main
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.errors import SettingError
from zoo.models.device import use_seed, use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.compiled import FOLDER, Compiled, use_compiler
from zoo.training.library import _read, _write
from zoo.training.trainer import Trainer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOLERANCE = 1e-5
"""How far a weight may be from that of ordinary steps, after some dozens of them: the docs name it."""


@pytest.fixture(autouse=True, scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with use_compiler(tmp_path_factory.mktemp("compiled")), use_threads(1), use_seed(0):
        yield  # what one test compiles, others find


class Odd(nn.Module):
    """Changes in each pass what a compiled step rests on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(12, 5), 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        print(end="")  # the compiler leaves out nothing that a program may see
        return self.layer(inputs.flatten(1))


def build() -> nn.Sequential:
    # A bias before the normalisation would have a gradient of rounding errors alone, which Adam makes as large as any.
    torch.manual_seed(0)
    head = [nn.Flatten(), nn.Linear(48, 5)]
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), *head
    )


def make_batches(samples: int, size: int, seed: int | None = 42) -> TensorBatches:
    generator = torch.Generator().manual_seed(samples)
    images = torch.randn(samples, 1, 3, 4, generator=generator)
    targets = torch.randint(5, (samples,), generator=generator)
    return TensorBatches(images, targets, Preprocess(), BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed))


class Training:
    """A training of 93 samples in batches of 10; `ordinary` are the sizes of the batches that were not compiled."""

    def __init__(self, model: nn.Module | None = None, state: Any = None, then: Any = None, **settings: Any) -> None:
        config = TrainConfig(**{"batch_size": 10, "epochs": 3, "optimizer": "adam", "capture": False, **settings})
        self.model, self.ordinary, self.then = model or build(), list[int](), then
        later = ["0.weight"] if config.unfreeze_at else []
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in later)
        self.trainer, self.states = Trainer(self.model, config, CPU, later=later, on_epoch=self.keep), list[Any]()
        step = self.trainer.prepare(10)
        if config.compile:
            assert isinstance(step.capture, Compiled)
            self.capture = step.capture
            self.capture.run = self.note(self.capture.run)
        torch.manual_seed(5)
        if state is not None:
            self.trainer.load_state(state)
        self.history = self.trainer.fit(make_batches(93, 10), make_batches(20, 20, None))

    def keep(self, epoch: Any) -> None:
        self.states.append(self.trainer.state())
        if self.then is not None:
            self.then(epoch["epoch"])

    def note(self, run: Any) -> Any:
        def noting(model: nn.Module, inputs: torch.Tensor, *rest: Any) -> Any:
            if model is self.model:  # and not a copy that is recorded
                self.ordinary.append(len(inputs))
            return run(model, inputs, *rest)

        return noting


class Listed(nn.Sequential):
    """A model that no recording takes, as a list may change."""

    sizes = [1, 2]  # noqa: RUF012

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) / len(self.sizes)


@pytest.mark.parametrize(
    ("settings", "listed"),
    [
        ({}, False),
        ({"precision": "bf16", "label_smoothing": 0.1}, False),
        (
            {
                "accumulate": 3,
                "clip": 0.5,
                "ema": 0.9,
                "optimizer": "sgd",
                "momentum": 0.9,
                "lr": 0.05,
                "unfreeze_at": 2,
            },
            False,
        ),
        ({"unfreeze_at": 2}, True),
    ],
    ids=["plain", "bf16", "careful", "torch.compile"],
)
def test_compiled_steps_are_near_ordinary_ones(settings: dict[str, Any], listed: bool) -> None:
    models = [Listed(*build()) if listed else build() for _ in range(2)]
    ordinary, compiled = Training(models[0], **settings), Training(models[1], **settings, compile=True)
    assert compiled.ordinary == [3, 3, 3], "the last batch of each epoch, and no other"
    assert (compiled.capture.whole is not None) is listed, "what can be recorded needs no torch.compile"
    near = 1e-2 if "precision" in settings else TOLERANCE
    for name, value in ordinary.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=0, atol=near, msg=name)
    losses = [[epoch["train"]["loss"] for epoch in each.history] for each in (compiled, ordinary)]
    assert losses[0] == pytest.approx(losses[1], abs=near)


def test_a_model_that_changes_between_epochs_is_compiled_as_it_is_then() -> None:
    """What a library was made of is recorded anew in each epoch."""

    def train(**settings: Any) -> list[torch.Tensor]:
        model = build()
        model[3].p = 0.0
        training = Training(model, **settings, then=lambda epoch: model[3].__setattr__("p", 0.3 * (epoch > 1)))
        return [*training.model.state_dict().values()]

    for one, other in zip(train(compile=True), train(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)


def test_they_are_the_same_each_time_and_after_a_pause() -> None:
    whole = Training(compile=True)
    rest = Training(build(), whole.states[0], compile=True)
    assert len(rest.history) == 3 and rest.ordinary == [3, 3]
    for one, other in zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("code", [b"machine code" * 1000, b""], ids=["a library", "none"])
def test_a_library_that_is_not_whole_is_not_loaded(code: bytes, tmp_path: Path) -> None:
    """Part of one would end the process, and a process that has it loaded does not look at the file again."""
    _write(path := tmp_path / "step.so", code)
    data = path.read_bytes()
    assert _read(path) == code and [each.name for each in tmp_path.iterdir()] == ["step.so"]
    for damaged in (data[:-1], data[: len(data) // 2], b"", data[:5] + b"?" + data[6:], data + b"?"):
        path.write_bytes(damaged)
        assert _read(path) is None


def test_a_model_that_cannot_be_compiled_is_told() -> None:
    with pytest.raises(SettingError, match=r"compile: the step of this model cannot be compiled: .*Leave it out"):
        Training(Odd(), compile=True)


def test_it_is_recorded_and_a_missing_compiler_is_named(
    tmp_path: Path, warm_python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--dataset-param", "train_size=100", "--dataset-param", "test_size=50", "--epochs", "1", "--threads", "1"]
    assert main(["run", "--model", "baseline", *small, "--compile", "--runs-dir", str(tmp_path)]) == 0
    assert "on cpu, 1 thread, compiled\n" in capsys.readouterr().out
    (run,) = tmp_path.iterdir()
    assert json.loads((run / "run.json").read_text())["train_config"]["compile"] is True
    # Another command needs no more of the compiler than what it has made.
    again = ["reproduce", str(run), "--runs-dir", str(tmp_path)]
    program = f"import sys; from zoo.cli.main import main; print(main({again}), 'torch._inductor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 False"], done.stderr
    assert all(json.loads(each.read_text())["train_config"]["compile"] for each in tmp_path.glob("*/run.json"))
    empty = tmp_path / "none"
    command = [warm_python, "-m", "zoo", "run", *small, "--compile", "--runs-dir", str(empty)]
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": str(empty)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not empty.exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: compile: needs a C++ compiler, and there is none. ") and "Install g++" in line


@pytest.mark.parametrize("compiler", ["false", 'g++ "', "", os.curdir])
def test_a_compiler_that_does_not_run_is_named(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert main(["run", "--compile", "--runs-dir", str(tmp_path / "runs")]) == 2 and not [*tmp_path.iterdir()]
    (line,) = capsys.readouterr().err.splitlines()
    told = f"{compiler!r} does not run" if compiler else "there is none"
    assert line.startswith(f"Error: compile: needs a C++ compiler, and {told}. Install g++ or")


def test_a_folder_that_cannot_be_written_to_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place := tmp_path / "taken").touch()
    monkeypatch.setenv(FOLDER, str(place))
    small = ["--dataset-param", "train_size=100", "--dataset-param", "test_size=50", "--epochs", "1", "--lr", "0.07"]
    for more in ([], ["--no-capture"]):
        assert main(["run", *small, *more, "--compile", "--runs-dir", str(tmp_path)]) == 7
        assert f"Error: cannot write to {place}" in (told := capsys.readouterr().err) and FOLDER in told


SLOW_COMPILER = """#!/bin/sh
out=
for word; do test "$last" = -o && out=$word; last=$word; done
test -n "$out" || exec g++ "$@"
printf half > "$out"
sleep 1000 &
echo "$! $$" > "$FOUND.part" && mv "$FOUND.part" "$FOUND"
wait
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_compiler_that_is_at_work_ends_with_the_run_and_leaves_no_half_file(
    number: signal.Signals, tmp_path: Path
) -> None:
    compiler, found, cache = tmp_path / "c++", tmp_path / "found", tmp_path / "cache"
    compiler.write_text(SLOW_COMPILER)
    compiler.chmod(0o755)
    small = ["--model", "baseline", "--dataset-param", "train_size=100", "--dataset-param", "test_size=50"]
    command = [sys.executable, "-m", "zoo", "run", *small, "--compile", "--runs-dir", str(tmp_path / "runs")]
    environment = {**os.environ, "CXX": str(compiler), "FOUND": str(found), FOLDER: str(cache)}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not found.exists() and run.poll() is None:
        sleep(0.05)
    started = [int(word) for word in found.read_text().split()]
    halves = [path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == b"half"]
    try:
        run.send_signal(number)
        told = run.communicate(timeout=60)[1].splitlines()
        assert halves and all(path.name.startswith(".") for path in halves), "the next run would take it for whole"
        if number is not signal.SIGKILL:
            assert run.returncode == 128 + number and len(told) == 1 and told[0].startswith("Stopped. 0 of"), told
            assert not any(path.exists() for path in halves) and not any(map(is_alive, started))
    finally:
        for each in started:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended may still have a number, until its parent asks for it."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
