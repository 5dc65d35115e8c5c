"""`zoo runs`: what it prints, in a table and as JSON, and what it does only when it is told to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main

HEAVY = {"torch", "torchvision", "numpy", "pydantic", "pooch", "requests", "PIL", "tqdm", "safetensors", "zoo_plugins"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two real runs, the newer one with a validation split."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    small = {"dataset_params": {"train_size": 64, "test_size": 20}, "runs_dir": folder}
    zoo.run(epochs=1, seed=1, **small).run.rename(folder / "first")
    zoo.run(epochs=2, seed=2, validation=0.25, **small).run.rename(folder / "second")
    return folder


@pytest.fixture
def runs(trained: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it where runs are by default, with a third run that failed."""
    monkeypatch.delenv("ZOO_RUNS_DIR")
    shutil.copytree(trained, "runs")
    failed = Path("runs/third")
    failed.mkdir()
    record = {"status": "failed", "model": "tinyvgg", "error": "it rained", "train_config": {"epochs": 3}}
    (failed / "run.json").write_text(json.dumps(record))
    return Path("runs")


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(["runs", *arguments]) == code
    return capsys.readouterr()


def read_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    out, err = call(capsys, *arguments, "--json")
    assert err == ""
    return json.loads(out)


def test_the_newest_run_comes_first(runs: Path, capsys) -> None:
    out, err = call(capsys)
    heading, second, first, third = out.splitlines()
    assert heading.split() == ["run", "status", "epochs", "accuracy", "loss", "validation.accuracy", "validation.loss"]
    accuracy = zoo.runs(top=1).runs[0].metrics["accuracy"]
    assert second.split()[:4] == ["second", "finished", "2", f"{accuracy:.4f}"]
    assert first.split()[:3] == ["first", "finished", "1"] and third.split()[:4] == ["third", "failed", "0/3", "-"]
    assert err == "" and all(len(line) <= 80 for line in out.splitlines())


def test_runs_are_chosen_and_sorted(runs: Path, capsys) -> None:
    out, _ = call(capsys, "--where", "seed>=1", "--where", "validation.accuracy=none", "--model", "base*")
    assert [line.split()[:3] for line in out.splitlines()] == [["run", "status", "seed"], ["first", "finished", "1"]]
    out, _ = call(capsys, "--sort", "-epochs", "--top", "2")
    assert [line.split()[0] for line in out.splitlines()] == ["run", "third", "second"]
    assert call(capsys, "--where", "accuracy>1") == ("", "none of 3 runs matches\n")
    assert call(capsys, "--runs-dir", "nothing") == ("", "no runs in nothing\n")
    _, err = call(capsys, "--where", "acuracy>1", code=2)
    assert err.startswith("Error: no run has 'acuracy'. Did you mean 'accuracy'? Runs have run, status, ")
    _, err = call(capsys, "--json", "show", "first", code=2)
    assert "--json stands before show" in err


def test_json_is_what_python_gives(runs: Path, capsys) -> None:
    assert read_json(capsys, "--sort", "run") == zoo.runs(sort="run").to_dict()
    shown = read_json(capsys, "show", "second")
    assert shown == json.loads(json.dumps(zoo.runs_show("second").data))
    assert shown["record"]["validation"] and shown["repeat"].startswith("zoo run ")


def test_a_run_is_shown_and_renamed(runs: Path, capsys) -> None:
    out, _ = call(capsys, "show", "sec")
    assert out.startswith("runs/second: run of baseline on shapes\n  status       finished\n")
    assert call(capsys, "rename", "sec", "best one") == ("run: runs/best one\n", "")
    assert read_json(capsys, "rename", "first", "other") == {"run": "runs/other"}
    assert main(["show", "@last"]) == 0
    assert capsys.readouterr().out.startswith("runs/best one/weights.safetensors: ")
    _, err = call(capsys, "rename", "other", "third", code=2)
    assert err == "Error: runs/third is there already. Give another name\n"


def test_nothing_is_removed_unless_somebody_says_yes(runs: Path, capsys) -> None:
    before = sorted(runs.rglob("*"))
    _, err = call(capsys, "remove", "first", "third", code=2)
    assert err.startswith("Error: nothing was removed: 2 runs, ") and err.endswith(". Say --yes to remove that\n")
    out, err = call(capsys, "clean")
    size = (runs / "third" / "run.json").stat().st_size
    assert out == f"{size} bytes  failed, no weights  runs/third\n"
    assert err == f"{size} bytes in all; zoo runs clean --yes removes it\n"
    assert read_json(capsys, "clean")["removed"] is False
    assert sorted(runs.rglob("*")) == before
    found = read_json(capsys, "clean", "--yes")
    assert found == {"removed": True, "found": [{"path": "runs/third", "size": size, "what": "failed, no weights"}]}
    assert call(capsys, "clean") == ("", "nothing to clean\n")
    out, err = call(capsys, "remove", "first", "--yes")
    assert out.endswith("  finished, with weights  runs/first\n") and err.startswith("removed ")
    assert [path.name for path in runs.iterdir()] == ["second"]


@pytest.mark.promise("P13")
@pytest.mark.parametrize("stdin", ["closed", "/dev/null"])
def test_nobody_is_asked(runs: Path, warm_python: str, stdin: str) -> None:
    """It ends at once, also where nobody can answer."""
    close = "<&-" if stdin == "closed" else f"< {stdin}"
    command = f'"{warm_python}" -m zoo runs remove first {close}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2 and "Say --yes to remove that" in done.stderr and done.stdout == ""


@pytest.mark.promise("P6")
def test_listing_imports_nothing_heavy_and_writes_no_line_that_drives_a_terminal(runs: Path) -> None:
    (runs / "first").rename(runs / "a\x1b[31mb")
    code = (
        "import sys; from zoo.cli.main import main; codes = main(['runs']), main(['runs', 'show', 'third']);"
        f"print(sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}), codes, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[] (0, 0)\n" and "\x1b" not in done.stdout and r"a\x1b[31mb" in done.stdout
