"""Where a command is run: without a home, in a folder that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.cli.main import main


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[None]:
    """Make a folder the current one and delete it."""
    before, folder = Path.cwd(), tmp_path / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    yield
    os.chdir(before)


@pytest.mark.parametrize(
    "arguments",
    [
        *("run", "check", "samples shapes", "evaluate x", "predict x y.png", "verify x", "adapt x", "compare x"),
        *("report x --output x.html", "plot x --output x.png", "plugin test x", "plugin new x --kind model"),
        *("show shapes --counts", "show baseline --layers", "list --plugin x.py", "plugins --plugin x.py"),
    ],
)
@pytest.mark.usefixtures("gone")
def test_a_command_that_needs_the_current_folder_says_that_it_is_gone(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 7
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: the current folder no longer exists. Go to another one with cd\n")


@pytest.mark.parametrize("arguments", ["--help", "--version", "run --help", "list", "plugins", "show baseline"])
@pytest.mark.usefixtures("gone")
def test_other_commands_work_in_a_folder_that_is_gone(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 0
    out, err = capsys.readouterr()
    assert out
    assert "Error" not in err


def run_without_home(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom the system does not know, and who has no home."""
    hidden = ("HOME", "ZOO_HOME", "XDG_DATA_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    # A real unknown user could not read an environment in somebody else's folder.
    code = "import pwd; pwd.getpwuid = {}.__getitem__; from zoo.cli.main import entry; entry()"
    command = [sys.executable, "-c", code, *arguments]
    options: dict[str, Any] = {"env": environment, "cwd": "/", "capture_output": True, "text": True}
    return subprocess.run(command, check=False, timeout=600, **options)


@pytest.mark.parametrize("command", ["list", "plugins"])
def test_a_user_without_a_home_is_told_what_to_set(command: str) -> None:
    done = run_without_home(command)
    assert (done.returncode, done.stdout) == (2, "")
    said = "Error: ZOO_HOME: is not set, and this user has no home folder. Set it to a folder that zoo may write to"
    assert done.stderr == f"{said}, or set HOME\n"


@pytest.mark.parametrize("home", ["~nobody-of-this-name/x", " ", "a\0b"])
def test_a_home_that_is_no_path_is_named(
    home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "\0" in home:  # no environment can hold it; a folder given from Python can
        assert main(["run", "--runs-dir", home]) == 2
    else:
        monkeypatch.setenv("ZOO_HOME", home)
        assert main(["list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("Error: ZOO_HOME: expected", "Error: runs_dir: expected"))


def test_a_bug_without_a_home_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("zoo.registry.entries.Registry.discover", lambda *_: 1 / 0)
    monkeypatch.setenv("ZOO_HOME", "~nobody-of-this-name")
    assert main(["list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "Error: unexpected error: ZeroDivisionError: division by zero. "
        "This is a bug in zoo; run again with --debug and report what it prints"
    )
