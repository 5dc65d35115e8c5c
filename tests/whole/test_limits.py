"""The page of limits and exit codes: each command on it ends as the page says, each number is that of the code."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zoo import errors, limits
from zoo.cli.main import main
from zoo.errors import ZooError
from zoo.registry import downloads, pace, parts, transfers
from zoo.registry.certificates import read_certificate
from zoo.registry.settings import list_settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
TEXT = PAGE.read_text(encoding="utf-8")


class Row(NamedTuple):
    """A line of a table: its cells without the marks of Markdown."""

    section: str
    cells: tuple[str, ...]


def read_rows() -> list[Row]:
    """Return the lines of all tables of the page, without their heads."""
    rows = []
    for section in TEXT.split("\n## ")[1:]:
        title, _, content = section.partition("\n")
        lines = [line for line in content.splitlines() if line.startswith("|")]
        for line in lines[2:]:
            cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            rows.append(Row(title, tuple(cells)))
    return rows


ROWS = read_rows()
COMMANDS = [
    (row.cells[-1].strip("`"), int(row.cells[0 if row.section == "Exit codes" else 3]))
    for row in ROWS
    if row.cells[-1].startswith("`zoo ")
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where the code of the page was run."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    folder = tmp_path_factory.mktemp("limits")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(folder / "home"))
        exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return that folder, the current one."""
    monkeypatch.setenv("ZOO_RUNS_DIR", str(made / "runs"))
    with contextlib.chdir(made):
        yield made


# They change zoo, or need a shell.
APART = ("zoo samples breaks-zoo", "zoo list |")


@pytest.mark.promise("P10")
@pytest.mark.parametrize(("command", "code"), [each for each in COMMANDS if not each[0].startswith(APART)])
def test_a_command_of_the_page_ends_as_it_says(
    command: str, code: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)[1:]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said and "bug in zoo" not in said
    assert bool(re.search("^(Error: |Stopped)", said, re.MULTILINE)) == (code != 0)
    assert all(len(line) <= 2 * errors.MAX_PART for line in said.splitlines())


def test_a_plugin_that_changes_zoo_shows_what_a_bug_looks_like(folder: Path, warm_python: str) -> None:
    ((command, code),) = [each for each in COMMANDS if each[0].startswith(APART[0])]
    words = [warm_python, "-m", *shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, code) == (1, 1)
    assert "This is a bug in zoo; please report it with" in done.stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    ((command, code),) = [each for each in COMMANDS if each[0].startswith(APART[1])]
    script = f'zoo() {{ {shlex.quote(sys.executable)} -m zoo "$@"; }}; {command}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, code, done.stderr) == (141, 141, "")


@pytest.mark.promise("P10")
def test_every_exit_code_is_on_the_page() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ZooError)]
    known = {kind.exit_code for kind in classes}
    shown = {int(row.cells[0]) for row in ROWS if row.section == "Exit codes"}
    assert shown == known | {0, 130, 141, 143}


def find_value(name: str) -> Any:
    """Return what a name of the page means: a setting's largest value, or a constant of a module of zoo."""
    if name.startswith("--"):
        allowed = list_settings()[name.removeprefix("--")].limits
        return allowed["le"] if "le" in allowed else int(allowed["lt"]) - 1
    parts = name.split(".")
    index = next(index for index, part in enumerate(parts) if part.isupper())
    found: Any = import_module(".".join(["zoo", *parts[:index]]))
    for part in parts[index:]:
        found = getattr(found, part)
    return found


NUMBERS = [(row.cells[0].strip("`"), row.cells[1]) for row in ROWS if row.section != "Exit codes" and row.cells[0]]


@pytest.mark.parametrize(("name", "value"), NUMBERS)
def test_a_number_of_the_page_is_that_of_the_code(name: str, value: str) -> None:
    assert find_value(name) == int(value.replace(",", ""))


def test_every_limit_is_on_the_page() -> None:
    shown = {name for name, _ in NUMBERS}
    assert {f"limits.{name}" for name in vars(limits) if name.isupper()} <= shown
    assert {f"errors.{name}" for name in vars(errors) if name.startswith("MAX_")} <= shown
    assert {f"registry.pace.{name}" for name in ("MIN_RATE", "WINDOW")} <= shown
    assert (
        {f"registry.transfers.{name}" for name in ("CONNECT_TIMEOUT", "READ_TIMEOUT")} <= shown and transfers and pace
    )
    assert {f"registry.parts.{name}" for name in ("QUIET", "KEPT")} <= shown and parts
    assert {f"registry.downloads.{name}" for name in ("TRIES", "PROGRESS", "MAX_PAUSE")} <= shown and downloads


@pytest.mark.parametrize("odd", ["too large", "a pipe", "a folder"])
def test_what_zoo_keeps_for_itself_is_made_anew_where_it_is_odd(
    odd: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert main(["plugins"]) == 0
    expected = capsys.readouterr().out
    kept = sorted((tmp_path / "cache").glob("index-*.json"))
    assert kept
    for path in kept:
        path.unlink()
        if odd == "too large":
            path.touch()
            os.truncate(path, limits.MAX_KEPT + 1)
        elif odd == "a pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
    (tmp_path / "certificates").mkdir()
    assert read_certificate("x", "x") is None
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out == expected
