"""Several processes of one command: they end as one would, with its exit code and one line that names the rank."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from zoo.cli.main import main
from zoo.storage.processes import find_port

pytestmark = pytest.mark.slow

NET = """
import gc, json, os, signal, time
import torch
from torch import nn
import zoo
from zoo.training.group import Group

class Net(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, classes))
        self.calls = 0

    def forward(self, inputs):
        if self.training:
            self.calls += 1
            how, _, rank = os.environ.get("END", "").partition(" ")
            if self.calls == 100 and os.environ.get("RANK") == (rank or "1"):
                end(how)
            if self.calls == 100 and how == "hang":
                (group,) = (each for each in gc.get_objects() if type(each) is Group)
                group.patience /= 600  # only now: whatever the machine does, no step before this one is too slow
        return self.layers(inputs)

def end(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ValueError("no such thing")
    if how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a signal is waited for, too
        time.sleep(3600)
    if how == "twice":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        end("SIGINT")
        os.kill(os.getpid(), signal.sigwait({signal.SIGINT}))  # torchrun has handed it on
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        end("SIGINT")
        time.sleep(3600)
    if how.startswith("SIG"):
        os.kill(json.loads(os.environ["ZOO_RANK_STARTER"])["pid"], getattr(signal, how))

@zoo.model(name="net")
def net(*, input_shape, num_classes):
    return Net(torch.Size(input_shape).numel(), num_classes)
"""
"""Its hundredth step in training ends rank 1, or another one, or asks torchrun to end, as the variable END says."""


ENTRY = """
import sys
sys.executable = {python!r}
from zoo.cli.main import entry
entry()
"""
"""The command line, whose ranks are started warm as well."""


@pytest.fixture
def zoo(own_folder: Path, warm_python: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what runs a command line of zoo in a process of its own."""
    (own_folder / "net.py").write_text(NET)
    monkeypatch.setenv("ZOO_RUNS_DIR", "runs")
    return [warm_python, "-c", ENTRY.format(python=str(warm_python))]


@pytest.fixture
def call(zoo: list[str]):
    """Return a function that runs a command line of zoo, and waits for it."""

    def run(*words: str, end: str = "", program: list[str] = zoo) -> subprocess.CompletedProcess[str]:
        command = [*program, *words]
        settings = {**os.environ, "END": end}
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=600)

    return run


def train(call, end: str, *more: str) -> subprocess.CompletedProcess[str]:
    model = ("--plugin", "net.py", "--model", "net", "--no-capture", "--processes", "2", "--epochs", "2")
    return call("run", *model, "--checkpoint-every", "20steps", *more, end=end)


def read_record() -> dict:
    (record,) = Path("runs").glob("*/run.json")
    return json.loads(record.read_text())


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ("kill", 10, r"Error: rank 1 was ended by SIGKILL\. "),
        (
            "raise",
            5,
            r"Error: rank 1: plugin 'net': model 'net' failed: ValueError: no such thing \(net\.py, line \d+\)\. ",
        ),
        ("hang", 10, r"Error: rank 1 has not answered for 1 s: .*--rank-timeout"),
        ("SIGINT", 130, r"Stopped\. "),
        ("SIGTERM", 143, r"Stopped\. "),
    ],
)
def test_a_rank_ends_all_in_one_line_and_the_run_goes_on(call, end, code, told):
    done = train(call, end, *(["--rank-timeout", "10m"] if end == "hang" else []))
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("epoch", "2 ranks train otherwise"))]
    assert done.returncode == code and not done.stdout, done.stderr
    assert len(lines) == 1 and re.match(told, lines[0]), done.stderr
    assert re.search(r"0 of 2 epochs are recorded in .*It goes on from step \d+ with: zoo resume", lines[0])
    assert read_record()["status"] in ("failed", "interrupted")


def test_ctrl_c_twice_ends_all_ranks_at_once_in_one_line(call):
    done = train(call, "twice")
    assert done.returncode == 130 and not done.stdout, done.stderr
    # The first rank is told by torchrun, or finds the other one gone a moment before.
    told = r"(2 ranks .*\n)?Stopped\. (The newest checkpoint is whole: |0 of 2 epochs are recorded .*)zoo resume .*\n"
    assert re.fullmatch(told, done.stderr)


def test_what_several_processes_of_torchrun_cannot_share_is_refused(monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "run"}.items():
        monkeypatch.setenv(name, value)
    assert main(["sweep", "--vary", "lr=0.1,0.2"]) == 2
    told = "zoo sweep is no work for several processes of torchrun. Start it by itself"
    assert told in capsys.readouterr().err
    assert main(["show", "baseline"]) == 0


def test_more_processes_than_the_machine_can_bear_are_refused(call):
    done = call("run", "--processes", "100000")
    assert done.returncode == 2
    assert re.fullmatch(r"Error: processes: must be at most \d+ on this machine, .*, got 100000\n", done.stderr)


def test_a_killed_run_goes_on_with_its_bits_and_on_another_number_of_ranks(call):
    whole = train(call, "")
    assert whole.returncode == 0, whole.stderr
    expected = read_record()
    assert whole.stdout.count("accuracy") == 1 and whole.stderr.count("epoch 2") == 1
    Path("runs").rename("whole")
    killed = train(call, "kill 0")
    assert killed.returncode == 10
    told = r"^Error: rank 0 was ended by SIGKILL\. .* The newest checkpoint is whole: zoo resume .*$"
    assert re.search(told, killed.stderr, re.M), "another rank knows it"
    (stopped,) = Path("runs").iterdir()
    for count in ("1", "3"):
        copy = Path(f"on-{count}")
        subprocess.run(["cp", "-r", str(stopped), str(copy)], check=True)
        done = call("resume", str(copy), "--processes", count, "--plugin", "net.py")
        assert done.returncode == 0, done.stderr
        assert f"resumed elsewhere (processes 2 -> {count})" in done.stderr
        record = json.loads((copy / "run.json").read_text())
        assert record["train_config"]["processes"] == int(count) and len(record["history"]) == 2
    done = call("resume", "@last", "--plugin", "net.py")
    assert done.returncode == 0 and "resumed elsewhere" not in done.stderr, done.stderr
    record = read_record()
    for number, epoch in enumerate(expected["history"]):
        assert {**record["history"][number], "seconds": 0} == {**epoch, "seconds": 0}, "dropout of both ranks goes on"
    again = call("reproduce", "@last", "--plugin", "net.py")
    assert again.returncode == 0 and again.stdout.startswith("BITWISE"), again.stderr


def test_the_guide_shows_what_works(call, warm_python):
    page = (ROOT / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
    section = page.partition("## Several processes train one model\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    small = ["--epochs", "1", "--model", "baseline"]
    # The one for several machines is tried below; torchrun is told of a port, with which it sends no pickles.
    command, by_hand, _, evaluated, resumed = commands
    assert command[:2] == [*resumed[:1], "run"] and by_hand[0] == "torchrun"
    done = call(*command[1:], *small)
    assert done.returncode == 0, done.stderr
    (options, rest) = by_hand[1:3], by_hand[by_hand.index("-m") :]
    place = ["--master-addr=127.0.0.1", f"--master-port={find_port()}", "--no-python", warm_python]
    torchrun = call(*options, *place, *rest, *small, program=[warm_python, "-m", "torch.distributed.run"])
    assert torchrun.returncode == 0, torchrun.stderr
    one, other = (json.loads(path.read_text()) for path in Path("runs").glob("*/run.json"))
    assert one["train_config"]["processes"] == other["train_config"]["processes"] == 2
    assert one["metrics"] == other["metrics"]
    done = call(*evaluated[1:])
    assert done.returncode == 0 and done.stdout == call(*evaluated[1:-2]).stdout, done.stderr
    done = call(*resumed[1:])
    assert done.returncode == 0 and "already finished: 1 of 1 epochs" in done.stderr, done.stderr


def test_two_agents_of_torchrun_train_one_model(own_folder, warm_python, monkeypatch):
    monkeypatch.setenv("ZOO_RUNS_DIR", "runs")
    place = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={find_port()}"]
    program = ["--no-python", warm_python, "-m", "zoo", "run", "--epochs", "1", "--batch-size", "33"]
    agents = [
        subprocess.Popen(
            [warm_python, "-m", "torch.distributed.run", f"--node-rank={node}", *place, *program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    printed = [agent.communicate(timeout=600) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], printed
    assert "trained 1 epoch" in printed[0][0] and not printed[1][0]
    assert read_record()["train_config"]["processes"] == 2


def test_ranks_stop_when_the_command_that_started_them_was_killed(zoo):
    command = [*zoo, "run", "--processes", "2", "--epochs", "10000", "--batch-size", "500"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stderr is not None
    for line in started.stderr:
        if line.startswith("epoch 2"):
            break
    started.kill()
    started.stderr.read()  # until all that could write to it have ended
    started.wait()
    record = read_record()
    assert record["status"] == "interrupted" and 2 <= len(record["history"]) < 10_000
    started.stderr.close()
    started.stdout.close()


@pytest.mark.parametrize("port", ["99999", ""], ids=["no port", "a port that is taken"])
def test_ranks_that_cannot_meet_say_so(call, monkeypatch, port):
    """As whoever starts them without torchrun may have it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = port or str(taken.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        done = call("run", "--epochs", "1")
    assert done.returncode == 2, done.stderr
    assert f"Error: the ranks cannot meet at '127.0.0.1:{port}': " in done.stderr
    assert "Set MASTER_ADDR and MASTER_PORT to the host of the first rank and to a free port there" in done.stderr
