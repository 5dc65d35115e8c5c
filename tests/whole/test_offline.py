"""Offline means offline: an audit hook in every process that zoo starts sees no connection and no name looked up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.promise("P8")

HOOK = """
import os, sys
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")

def note(event, words):
    # An address that is no tuple is a path: a pipe between processes of this machine.
    if event in LOOKUPS or (event in CONNECTIONS and isinstance(words[-1], tuple)):
        with open(os.environ["NOTED"], "a") as file:
            file.write(f"{os.environ['DOING']}: {event} {words!r}\\n")

sys.addaudithook(note)
"""
CODE = """
import os, shlex, sys
from zoo.cli.main import main

for line in sys.argv[1:]:
    code, _, line = line.partition(" ")
    os.environ["DOING"] = line
    found = main(shlex.split(line))
    assert found == int(code), (line, found)
"""
SIZE = "--dataset-param train_size=40 --dataset-param test_size=20"
COMMANDS = [
    "0 list",
    "0 plugins",
    "0 show fashionmnist",
    "0 data list",
    "6 data fetch mnist",
    "0 data verify",
    f"0 run --dataset shapes --model baseline --epochs 1 --workers 1 {SIZE}",
    "6 run --dataset mnist",
    "0 predict @last picture.png",
    "0 evaluate @last",
    "6 samples mnist",
]
TAKES_OFFLINE = ("data fetch", "run", "predict", "evaluate", "samples")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["variable", "option"])
def test_offline_connects_to_nothing(own_folder: Path, how: str) -> None:
    (own_folder / "hook").mkdir()
    (own_folder / "hook" / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    Image.new("L", (28, 28)).save("picture.png")
    commands = COMMANDS
    if how == "option":
        commands = [f"{line} --offline" for line in COMMANDS if line[2:].startswith(TAKES_OFFLINE)]
    path = os.pathsep.join([str(own_folder / "hook"), *filter(None, sys.path)])
    noted = own_folder / "noted"
    settings = {"PYTHONPATH": path, "NOTED": str(noted), "DOING": "", "no_proxy": ""}
    settings |= {"ZOO_OFFLINE": "1"} if how == "variable" else {}
    # What would be asked is a port of this machine where nobody is, so that the control below asks no stranger.
    settings |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    run = [sys.executable, "-c", CODE]
    done = subprocess.run(
        [*run, *commands], env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert not noted.exists(), noted.read_text(encoding="utf-8")
    if how == "variable":
        control = [*run, "6 data fetch mnist"]
        done = subprocess.run(
            control, env={**os.environ, **settings, "ZOO_OFFLINE": "0"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "socket.connect" in noted.read_text(encoding="utf-8"), "the hook would have seen it"
