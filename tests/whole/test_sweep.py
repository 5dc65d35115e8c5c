"""Whatever ends a whole `zoo run`, or any other writer, at any moment: what is left is whole and true."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import system_calls
from forkserver import AVAILABLE

pytestmark = pytest.mark.promise("P1", "P12")

SCRIPT = Path(__file__).with_name("sweep_run.py")
WRITERS = Path(__file__).with_name("sweep_writers.py")
MOMENTS = 12


@pytest.mark.slow
@pytest.mark.skipif(not AVAILABLE, reason="the sweep forks and needs Linux")
@pytest.mark.parametrize("seed", [11])
def test_a_run_that_ends_at_any_moment_leaves_what_is_whole_and_true(warm_python, seed):
    command = [warm_python, str(SCRIPT), "--moments", str(MOMENTS), "--seed", str(seed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout).values()) == MOMENTS


@pytest.mark.slow
@pytest.mark.skipif(not system_calls.AVAILABLE, reason="system calls are traced on Linux on x86-64")
@pytest.mark.parametrize(("options", "least"), [((), 100), pytest.param(("--all",), 800, marks=pytest.mark.nightly)])
def test_whatever_zoo_writes_survives_a_fault_of_any_system_call(warm_python, options, least):
    command = [warm_python, str(WRITERS), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert len(found["cases"]) == 19 and sum(found["cases"].values()) >= least
    assert any("KILL at call 2, write: expected" in problem for problem in found["control"])
