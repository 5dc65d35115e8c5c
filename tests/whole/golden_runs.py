"""Golden runs: a finished run and a stopped one with its checkpoint, kept so that every later zoo is tried on them.

    python tests/whole/golden_runs.py            # for a release: adds tests/fixtures/golden/VERSION

Both are of one training, so the stopped one, resumed, must come to what the finished one has. What is there already
stays as it is: only its own version may write a golden run.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import zoo
from zoo.records import process

RUNS = Path(__file__).parents[1] / "fixtures" / "golden"
TRAINING: dict[str, Any] = {
    "params": {"hidden_units": 3},
    "dataset_params": {"train_size": 200, "test_size": 40, "difficulty": 0},
    "epochs": 3,
    "batch_size": 20,
    "optimizer": "adamw",
    "optimizer_params": {"betas": [0.9, 0.99]},
    "lr": 0.05,
    "schedule": "cosine",
    "warmup": 3,
    "ema": 0.5,
    "augment": "flip,crop:padding=1",
    "mixup": 0.1,
    "accumulate": 2,
    "clip": 1.0,
    "validation": 0.2,
    "patience": 3,
    "threads": 1,
    "seed": 7,
    "metrics": ["accuracy", "f1-macro"],
}


def interrupt(epoch: Any) -> None:
    """Stop a training as Ctrl-C does, in its third epoch."""
    if epoch["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """Write the golden runs of this version."""
    target = RUNS / zoo.__version__
    if target.exists():
        print(f"{target} is there already", file=sys.stderr)
        return 2
    process._describe = lambda pid: process.ProcessOrigin(host="golden", pid=1)  # no word of the machine
    with tempfile.TemporaryDirectory(prefix="zoo-golden-") as folder:
        os.chdir(folder)
        zoo.run("relu-mlp", "shapes", **TRAINING).run.rename("finished")
        try:
            zoo.run("relu-mlp", "shapes", on_epoch=interrupt, **TRAINING)
        except KeyboardInterrupt:
            next(Path("runs").iterdir()).rename("stopped")
        for name in ("finished", "stopped"):
            shutil.copytree(name, target / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
