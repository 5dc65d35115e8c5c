"""An accelerator is never waited for between the first steps of an epoch and its end, and data that fit stay on it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.slow
def test_no_step_batch_or_metric_waits_for_an_accelerator(warm_python: str) -> None:
    program = Path(__file__).with_name("waiting_cases.py")
    done = subprocess.run([warm_python, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
