"""Whatever ends a whole `zoo run` at a random moment, what it leaves proves itself and is true."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from forkserver import AVAILABLE

pytestmark = pytest.mark.promise("P1", "P12")

SCRIPT = Path(__file__).with_name("sweep_run.py")
MOMENTS = 12


@pytest.mark.slow
@pytest.mark.skipif(not AVAILABLE, reason="the sweep forks and needs Linux")
@pytest.mark.parametrize("seed", [11])
def test_a_run_that_ends_at_any_moment_leaves_what_is_whole_and_true(warm_python, seed):
    command = [warm_python, str(SCRIPT), "--moments", str(MOMENTS), "--seed", str(seed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout).values()) == MOMENTS
