"""Help pages: groups, sections, the width of the terminal, colours."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from zoo.cli.commands import COMMANDS, GROUPS
from zoo.cli.main import main

RUNS = ("show", "rename", "remove", "clean")
PAGES = [[], *([name] for name in COMMANDS), ["plugin", "new"], ["plugin", "test"], *(["runs", name] for name in RUNS)]


def show(capsys, *arguments):
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_commands_are_in_groups_and_options_in_sections(capsys):
    page = show(capsys, "--help")
    assert re.findall(r"^(\w[\w ]*):$", page, re.MULTILINE) == ["Options", *GROUPS]
    page = show(capsys, "run", "--help")
    sections = re.split(r"^(\w+):\n", page, flags=re.MULTILINE)
    assert sections[1::2] == ["What", "Training", "Where", "Plugins", "Output"]
    for option, section in (("--model", "What"), ("--lr", "Training"), ("--data-dir", "Where"), ("--json", "Output")):
        assert f"  {option} " in sections[sections.index(section) + 1]
    assert page.endswith("Example: zoo run --model tinyvgg --dataset fashionmnist\n")


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_help_of_a_command_is_its_help_page(capsys, words):
    page = show(capsys, *words, "--help")
    assert page.startswith(f"Usage: {' '.join(['zoo', *words])} ")
    assert show(capsys, "help", *words) == page
    assert not re.search(r"^  [A-Z|]+[^a-z]* *$", page, re.MULTILINE), "an argument is no option"
    assert page.count("[required]") == page.count("[required]\n"), "twice on one line"
    assert "required]  [required" not in " ".join(page.split(" "))


@pytest.mark.promise("P13")
@pytest.mark.parametrize("columns", [32, 40, 60, 130])
@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_pages_fit_their_terminal(capsys, monkeypatch, columns, words):
    monkeypatch.setenv("COLUMNS", str(columns))
    page = show(capsys, *words, "--help")
    too_long = [line for line in page.splitlines() if len(line) > columns and " " in line.strip()]
    assert not too_long


def in_terminal(*arguments, **settings):
    """Return what a command prints to a terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "zoo", *arguments]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env={**kept, "TERM": "xterm", **settings})
    os.close(slave)
    shown = b""
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:  # the end, on Linux
        pass
    os.close(master)
    process.wait()
    return shown.decode()


def test_a_terminal_has_colours():
    assert "\x1b[1mTrain\x1b[0m:" in in_terminal("--help")
    assert in_terminal("nosuch").startswith("\x1b[31m\x1b[1mError:\x1b[0m no command 'nosuch'")


@pytest.mark.promise("P13")
@pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_a_terminal_that_wants_none_has_none(settings):
    assert "\x1b" not in in_terminal("--help", **settings) + in_terminal("nosuch", **settings)


@pytest.mark.promise("P13")
def test_what_is_no_terminal_has_none_unless_it_is_forced(capsys, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b" not in show(capsys, "--help")
    monkeypatch.setenv("FORCE_COLOR", "0")
    assert "\x1b" not in show(capsys, "--help")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1mTrain\x1b[0m" in show(capsys, "--help")
    assert main(["nosuch"]) == 2
    assert capsys.readouterr().err.startswith("\x1b[31m\x1b[1mError:\x1b[0m ")
    assert main(["run", "--json", "--device", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("{")
    assert main([]) == 2
    assert "\x1b[1mTrain\x1b[0m" in capsys.readouterr().err
    assert "\x1b" not in show(capsys, "list") + show(capsys, "show", "shapes")
