"""Output: stdout holds the results of a command and nothing else, whatever plugins print and wherever they do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main

pytestmark = pytest.mark.promise("P13")

# Prints in every way there is, at its top and wherever zoo calls it.
LOUD = """
import ctypes, os, subprocess, sys
import torch
import zoo

def say(where):
    print(f"noise {where} print")
    print(f"noise {where} original", file=sys.__stdout__)
    sys.stdout.write(f"noise {where} write\\n")
    sys.stdout.buffer.write(f"noise {where} buffer\\n".encode())
    sys.stdout.flush()
    os.write(1, f"noise {where} descriptor\\n".encode())
    ctypes.CDLL(None).puts(f"noise {where} puts".encode())
    ctypes.CDLL(None).fflush(None)
    if where in ("top", "sample"):
        subprocess.run(["echo", f"noise {where} child"], check=False)

say("top")
said = set()

def once(where):
    if where not in said:
        said.add(where)
        say(where)

@zoo.model(name="loud")
class Loud(torch.nn.Sequential):
    def __init__(self, *, input_shape, num_classes):
        once("model")
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(4, num_classes))
    def forward(self, inputs):
        once("forward")
        return super().forward(inputs)
    def state_dict(self, *arguments, **options):
        once("state")
        return super().state_dict(*arguments, **options)

class Split(torch.utils.data.Dataset):
    def __len__(self):
        once("length")
        return 8
    def __getitem__(self, index):
        once("sample")
        return torch.full((1, 2, 2), float(index) / 8), index % 2

@zoo.dataset(name="loud")
def dataset(*, root):
    once("dataset")
    return zoo.DataSplits(train=Split(), test=Split(), class_names=("a", "b"))

@zoo.metric(name="loud")
class Metric:
    def __init__(self, *, num_classes):
        once("metric")
    def update(self, logits, targets):
        once("update")
    def compute(self):
        once("compute")
        return 0.5
    def reset(self):
        once("reset")
"""
PLACES = ("model", "forward", "state", "length", "sample", "dataset", "metric", "update", "compute", "reset")
WAYS = ("print", "original", "write", "buffer", "descriptor", "puts")
RUN = (
    "run",
    "--json",
    "--model",
    "loud",
    "--dataset",
    "loud",
    "--metric",
    "loud",
    "--plugin",
    "loud.py",
    "--epochs",
    "1",
)


@pytest.fixture
def loud(own_folder: Path) -> Path:
    path = own_folder / "loud.py"
    path.write_text(LOUD)
    return path


def call(python: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([python, "-m", "zoo", *arguments], text=True, check=False, **streams)


@pytest.mark.slow
def test_what_plugins_print_is_no_result(loud: Path, warm_python: str) -> None:
    done = call(warm_python, *RUN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "loud"
    for where in ("top", *PLACES):
        for way in WAYS:
            assert f"noise {where} {way}\n" in done.stderr
    assert "noise top child\n" in done.stderr and "noise sample child\n" in done.stderr
    commands = {
        ("run", *RUN[2:], "--workers", "2"): "loud 0.5",
        ("samples", "loud", "--json", "--plugin", "loud.py"): "{",
    }
    for command, start in commands.items():
        done = call(warm_python, *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(start) and "noise" not in done.stdout and "noise" in done.stderr, command


@pytest.mark.slow
def test_stderr_that_is_full_or_closed_stops_no_plugin_that_prints(loud: Path, warm_python: str) -> None:
    # Only what writes to the descriptor by itself meets the error, as in any program.
    loud.write_text(LOUD.replace("    os.write(1", "    0 and os.write(1"))
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = call(warm_python, *RUN, stderr=full)
    assert done.returncode == 0 and json.loads(done.stdout)["model"] == "loud"
    loud.write_text(f"{LOUD.partition('import torch')[0]}{LOUD.partition('import zoo')[2].partition('said =')[0]}")
    command = f"{sys.executable} -m zoo list --json --plugin loud.py 2>&-"
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["models"]


def test_no_file_takes_the_place_of_a_closed_descriptor(own_folder: Path) -> None:
    # What is opened first gets the lowest free descriptor, and with it what others print.
    Path("mine.py").write_text("import os\nopen('seen', 'w').write(os.readlink('/proc/self/fd/1'))\n")
    for closed, code in {"<&- >&- 2>&-": 7, ">&-": 7, "2>&-": 0, "<&-": 0}.items():
        command = f"{sys.executable} -m zoo list --plugin mine.py {closed}"
        assert subprocess.run(command, shell=True, check=False, capture_output=True).returncode == code
        assert not Path("seen").read_text().endswith(("seen", ".py", ".json"))


def test_in_the_process_of_somebody_else_prints_go_to_its_stderr(
    own_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("mine.py").write_text("import sys\nprint('noise')\nprint('more noise', file=sys.stderr)\n")
    assert main(["list", "--json", "--plugin", "mine.py"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) >= {"models"} and err == "noise\nmore noise\n"
    Path("yours.py").write_text("print('noise')\n")
    with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
        assert main(["list", "--json", "--plugin", "yours.py"]) == 0
    assert json.loads(stdout.getvalue()) and stderr.getvalue() == "noise\n"
    assert sys.stdout is not stdout


def test_a_function_of_python_leaves_descriptors_and_streams_alone(
    own_folder: Path, capfd: pytest.CaptureFixture
) -> None:
    Path("ours.py").write_text("import os\nprint('said', flush=True)\nos.write(1, b'written\\n')\n")
    before = os.fstat(1).st_ino, sys.stdout
    assert zoo.list_models(plugins=["ours.py"])
    assert (os.fstat(1).st_ino, sys.stdout) == before
    assert capfd.readouterr().out == "said\nwritten\n"
