"""Each command of docs/guide/training.md works: on few drawn samples and for one epoch, so that it takes a moment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from zoo.cli.main import main

PAGE = (ROOT / "docs" / "guide" / "training.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
SMALL = ["--dataset-param", "train_size=200", "--dataset-param", "test_size=60"]


def shorten(command: str) -> list[str]:
    """Return the words of a command on other data, and with values that so few samples have room for."""
    words = shlex.split(re.sub(r"\bfashionmnist\b(?!-)", "shapes", command))[1:]
    if "--recipe" in words:
        words += ["--dataset", "shapes"]
    for option, value in (
        ("--epochs", "2" if "--unfreeze-at" in words else "1"),
        ("--warmup", "2"),
        ("--batch-size", "16"),
        ("--seeds", "2"),
    ):
        if option in words:
            words[words.index(option) + 1] = value
    # What is expected of a recipe holds for its own data only; tests/training/test_recipes.py runs it on them.
    words = [word for word in words if word != "--expect"]
    if words[0] == "run":
        words += SMALL if "--epochs" in words else [*SMALL, "--epochs", "1"]
    if words[0] == "compare":
        words[1:] = sorted(map(str, Path("runs").iterdir()))
    return words


@pytest.mark.slow
def test_each_command_of_the_page_runs(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_RUNS_DIR")
    assert len(COMMANDS) >= 22
    for command in COMMANDS:
        assert command.startswith("zoo "), command
        assert main(shorten(command)) == 0, command
    assert Path("augmented.png").is_file() and Path("rate.png").is_file()
    assert sum((folder / "last.safetensors").is_file() for folder in Path("runs").iterdir()) == 13
