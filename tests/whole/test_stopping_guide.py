"""What docs/guide/stopping.md shows is what a terminal shows at each stop, but for times, numbers and folders."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.promise("P12")

PAGE = (ROOT / "docs" / "guide" / "stopping.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
SEND = """
import os, sys
from zoo.training import pauses
look, seen = pauses.Pauses.look, [0]
def send(self):
    seen[0] += 1
    if seen[0] == 200:
        for _ in range({count}):
            os.kill(os.getpid(), 2)
    look(self)
pauses.Pauses.look = send
from zoo.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def level(text: str) -> list[str]:
    """Return the lines without what differs from run to run."""
    text = re.sub(r"\S*runs/\d{8}-\d{6}-([a-z-]+?)(-\d+)?(?=[;/.\s])", r"runs/STAMP-\1", text)
    return [re.sub(r"\d+([.,]\d+)*", "0", line) for line in text.splitlines()]


def call(python: str, command: str, count: int = 0) -> subprocess.CompletedProcess[str]:
    words = command.split()[1:]
    start = ["-c", SEND.format(count=count)] if count else ["-m", "zoo"]
    return subprocess.run([python, *start, *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_page_shows_what_a_terminal_shows(
    own_folder: Path, warm_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_RUNS_DIR")
    first, second, limit = SHOWN
    train, go_on, *others, limited, again = COMMANDS
    stopped = call(warm_python, train, count=1)
    assert stopped.returncode == 130 and level(stopped.stderr) == level(first)
    done = call(warm_python, f"{go_on} --epochs 41")
    assert done.returncode == 0 and "trained 41 epochs" in done.stdout, done.stderr
    at_once = call(warm_python, f"{train} --checkpoint-every 50steps", count=2)
    assert at_once.returncode == 130 and level(at_once.stderr)[-1:] == level(second)
    for command in others:
        kept = call(warm_python, command.replace("'2 epochs'", "2epochs"))
        assert kept.returncode == 0, kept.stderr
    timed = call(warm_python, limited.partition(" ||")[0])
    assert level(f"{timed.stderr}exit code {timed.returncode}") == level(limit)
    assert timed.returncode == 124
    Path("runs").rename("earlier")
    assert call(warm_python, "zoo run --epochs 1").returncode == 0
    repeated = call(warm_python, again)
    assert repeated.returncode == 0 and repeated.stdout.startswith("BITWISE\n"), repeated.stderr
