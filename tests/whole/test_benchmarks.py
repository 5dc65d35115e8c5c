"""Every benchmark runs in its smallest form; what it measures is not asserted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

SMALLEST = {
    "checkpoint.py": ["--megabytes", "5"],
    "augment.py": ["--samples", "320"],
    "features.py": ["--samples", "6400"],
    "gpu.py": ["--device", "cpu", "--steps", "1", "--side", "8"],
    "gather.py": ["--samples", "320", "--epochs", "1"],
    "layout.py": ["--samples", "64", "--families", "1"],
    "metrics.py": ["--train", "320", "--test", "320"],
    "precision.py": ["--steps", "1"],
    "recipe.py": ["--samples", "320"],
    "folders.py": ["--pictures", "40"],
    "ranks.py": ["--samples", "256"],
    "runs.py": ["--runs", "50"],
    "shards.py": ["--pictures", "16"],
    "see.py": ["--dataset", "shapes", "--epochs", "1", "--runs", "2"],
    "startup.py": ["--plugins", "0", "2", "--models", "1", "2"],
    "threads.py": ["--cases", "1", "--seconds", "0.01"],
    "waiting.py": ["--steps", "1", "--neighbours", "0", "--looks", "1000"],
    "weights.py": ["--megabytes", "1", "--large", "2"],
}
SMALLEST_WITH_DATA = {
    "estimates.py": ["--cases", "1"],
    "overhead.py": ["--samples", "320", "--images", "2"],
    "command.py": ["--epochs", "0", "--threads", "1"],
}


def run_benchmark(python: str, name: str, *arguments: str) -> str:
    """Run a script in a process that finds zoo where this one does; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "2"}
    command = [python, str(ROOT / "benchmarks" / name), "--rounds", "1", "--no-check", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LONG = ("ranks.py", "startup.py", "overhead.py")
"""Those that take ten seconds in their smallest form, as they start many processes. command.py does as well, but it is
all that runs course.py and eager.py."""


def list_cases(names: Iterable[str]) -> list[Any]:
    """Return names as cases, the long ones for the night."""
    return [pytest.param(name, marks=[pytest.mark.nightly] if name in LONG else []) for name in names]


@pytest.mark.parametrize("name", list_cases(SMALLEST))
def test_runs(name: str, warm_python: str) -> None:
    python = sys.executable if name == "threads.py" else warm_python  # a warm one has one thread
    assert "limit" in run_benchmark(python, name, *SMALLEST[name])


@pytest.mark.parametrize("name", list_cases(SMALLEST_WITH_DATA))
def test_runs_with_data(name: str, fashionmnist_root: Path, warm_python: str) -> None:
    printed = run_benchmark(warm_python, name, *SMALLEST_WITH_DATA[name], "--data-dir", str(fashionmnist_root))
    assert "limit" in printed


def test_the_page_of_scale_has_the_tables_of_its_script(warm_python: str) -> None:
    command = [warm_python, str(ROOT / "benchmarks" / "scale.py")]
    tables = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n\n")
    page = (ROOT / "docs" / "design" / "scale.md").read_text(encoding="utf-8")
    assert len(tables) == 3 and all(table in page for table in tables)


def test_every_benchmark_is_run_here() -> None:
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}
    # command.py runs two of the others, and speed.py three that are run here.
    assert scripts == {*SMALLEST, *SMALLEST_WITH_DATA, "course.py", "eager.py", "scale.py", "speed.py"}
