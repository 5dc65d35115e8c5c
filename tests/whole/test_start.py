"""The start of a program: what a training imports, and that the program is the same after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli.torch_import import SPINS

# A cold Python, for others have imported torchvision. Each line is a command; what it has imported beside what
# `import torch` does is printed after all of them.
PROGRAM = """
import gc, json, shlex, sys

from zoo.cli.main import main

codes = [main(shlex.split(line)) for line in sys.argv[2:]]
import subprocess

plain = subprocess.run([sys.executable, "-c", "import sys, torch; print(*sys.modules)"], capture_output=True, text=True)
found = [name for name in sys.modules if name not in plain.stdout.split()]
told = {"codes": codes, "found": found, "gc": gc.isenabled(), "torch": "torch" in plain.stdout, "pages": 0}
if sys.platform == "linux":
    import resource, torch

    values, pages = torch.zeros(10 << 20), lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    values.relu()
    before = pages()
    for _ in range(5):
        values.relu()
    told["pages"] = pages() - before
json.dump(told, open(sys.argv[1], "w"))
"""
NEEDED = {"PIL", "annotated_types", "click", "filelock", "numpy", "platformdirs", "pluggy", "pydantic", "pydantic_core"}
NEEDED |= {"safetensors", "typing_inspection", "zoo", "zoo_plugins"}
SMALL = "--dataset-param train_size=100 --dataset-param test_size=50 --epochs 2"


@pytest.mark.slow
def test_a_training_imports_nothing_that_it_does_not_need(fashionmnist_root: Path, tmp_path: Path) -> None:
    lines = [
        f"run --dataset fashionmnist --epochs 1 --data-dir {fashionmnist_root} --offline",
        f"run --model tinyvgg {SMALL} --optimizer adamw --schedule cosine --warmup 2 --clip 1 --ema 0.9 --accumulate 2"
        " --label-smoothing 0.1 --checkpoint-every '1 epochs'",
        "resume @last",
        f"run {SMALL} --validation 0.2 --patience 1 --precision bf16 --mixup 0.2 --augment flip --optimizer rmsprop"
        " --schedule one-cycle",
        f"run {SMALL} --class-weights balanced --balanced-sampling --optimizer adafactor",
        "reproduce @last",
        "evaluate @last",
    ]
    told = tmp_path / "told.json"
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_DISPLAY_ENV": "verbose"}
    arguments = [f"{line} --runs-dir {tmp_path}" for line in lines]
    command = [sys.executable, "-c", PROGRAM, str(told), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(told.read_text())
    assert seen["codes"] == [0] * len(lines) and seen["torch"] and seen["gc"], done.stderr
    # The OpenMP library of torch says on stderr what it read when it was imported.
    assert sys.platform != "linux" or f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr
    # Something else may have taken a part of the room once or twice.
    assert seen["pages"] < 30_000, "of 5 x 10,240: memory that was freed is kept for the next tensor"
    roots = {name.partition(".")[0] for name in seen["found"]} - {*sys.stdlib_module_names}
    assert {name for name in roots if not name.startswith(("_", "zoo_plugin_"))} <= {*NEEDED, "torch"}
    # None of torch's compilers, of the libraries behind them, and nothing for other machines.
    assert [name for name in seen["found"] if name.startswith("torch")] == ["torch.utils._device"]
