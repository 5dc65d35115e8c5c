"""Mutants: twenty-four faults that the suite must notice, over the whole core.

    python tests/mutants.py            # all of them, in about five minutes
    python tests/mutants.py 3 17       # some of them, by their number

Each is a change of one text in a scratch copy of the tree; the test named with it must fail there. "lived" means that
the test passes all the same: a fault of that kind would go unnoticed. `test_mutants.py` holds that each text is still
there, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = (
    "zoo",
    "plugins",
    "tests",
    "docs",
    "benchmarks",
    "registry.toml",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
"""What the copy holds."""


@dataclass(frozen=True)
class Mutant:
    """`fault` in words: `text` of `file`, which is there once, becomes `instead`; `test` must fail then."""

    fault: str
    file: str
    text: str
    instead: str
    test: str


MUTANTS = (
    Mutant(
        "no update of the parameters",
        "zoo/training/step.py",
        "        self.optimizer.step()\n",
        "",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "gradients of all steps add up",
        "zoo/training/step.py",
        "            parameter.grad = None\n",
        "            pass\n",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "evaluation in training mode",
        "zoo/training/trainer.py",
        "    model.eval()\n    reset_metrics(metrics)\n",
        "    reset_metrics(metrics)\n",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "metrics go on from epoch to epoch",
        "zoo/training/trainer.py",
        "    model.eval()\n    reset_metrics(metrics)\n",
        "    model.eval()\n",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "the test loss is a mean of sums",
        "zoo/training/trainer.py",
        "float(total) / batches.samples",
        "float(total) / len(batches)",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "small batches count as much as large ones in the training loss",
        "zoo/training/losses.py",
        "self.total += value * samples",
        "self.total += value * self.samples / max(1, self.steps - 1)",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "a loss that is not finite goes on",
        "zoo/training/losses.py",
        "        if not isfinite(value):\n",
        "        if value == float('inf'):\n",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "each epoch has the order of the first",
        "zoo/data/batches.py",
        "order = epoch_order(self.samples, self.shuffle_seed, epoch)\n",
        "order = epoch_order(self.samples, self.shuffle_seed, 0)\n",
        "tests/data/test_batches.py",
    ),
    Mutant(
        "an error of memory is blamed on a metric",
        "zoo/training/metrics.py",
        "if is_out_of_memory(error):",
        "if False:",
        "tests/training/test_trainer.py",
    ),
    Mutant(
        "a full terminal ends a training",
        "zoo/training/progress.py",
        "        with suppress(OSError, ValueError):\n            self.stream.write(text)\n",
        "        self.stream.write(text)\n",
        "tests/training/test_progress.py",
    ),
    Mutant(
        "a run that was stopped is recorded as failed",
        "zoo/training/recording.py",
        '{KeyboardInterrupt: "interrupted", DivergedError: "diverged"}',
        '{DivergedError: "diverged"}',
        "tests/training/test_run.py",
    ),
    Mutant(
        "tied tensors come apart when they are loaded",
        "zoo/models/weights.py",
        "assign=len(set(places)) == len(places)",
        "assign=True",
        "tests/models/test_weights.py",
    ),
    Mutant(
        "buffers that no file keeps stay empty",
        "zoo/models/rebuilding.py",
        "if isinstance(filled, nn.Parameter):",
        "if filled is not None:",
        "tests/models/test_weights.py",
    ),
    Mutant(
        "digests do not reach the disk before the rename",
        "zoo/models/weights.py",
        "os.fsync(file.fileno())",
        "pass",
        "tests/models/test_weights.py",
    ),
    Mutant(
        "golden samples prove little",
        "zoo/models/golden.py",
        "TOLERANCE = 1e-4",
        "TOLERANCE = 0.05",
        "tests/models/test_predictor.py::test_a_golden_probability_may_be_off_by_a_ten_thousandth",
    ),
    Mutant(
        "inputs that are scaled twice are not noticed",
        "zoo/models/drift.py",
        "< span / 16:",
        "< 0:",
        "tests/models/test_drift.py",
    ),
    Mutant(
        "the lower end of a value range is ignored",
        "zoo/models/predictor.py",
        "unit = (raw.to(torch.float32) - low) / (high - low)",
        "unit = raw.to(torch.float32) / high",
        "tests/models/test_predictor.py",
    ),
    Mutant(
        "JSON of any size is parsed",
        "zoo/records/header.py",
        "if raw.count(b'\"') > bounds.quotes:",
        "if False:",
        "tests/records/test_header.py",
    ),
    Mutant(
        "half a file takes the place of a whole one",
        "zoo/storage/files.py",
        "rest = rest[os.write(file, rest) :]",
        "os.write(file, rest)\n                    break",
        "tests/storage/test_files.py",
    ),
    Mutant(
        "a download may hold anything of the right size",
        "zoo/registry/downloads.py",
        "if (got := self.digest.hexdigest()) != self.file.sha256:",
        "if (got := self.digest.hexdigest()) == self.file.path:",
        "tests/registry/test_downloads.py",
    ),
    Mutant(
        "a damaged index is believed",
        "zoo/registry/index.py",
        "    if digest(text) != checksum:\n",
        "    if not checksum:\n",
        "tests/registry/test_index.py",
    ),
    Mutant(
        "Ctrl-C in a hook is the plugin's fault",
        "zoo/registry/plugins.py",
        """        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self.broken""",
        """        try:
            yield
        except BaseException as error:
            raise self.broken""",
        "tests/registry/test_interrupts.py",
    ),
    Mutant(
        "what a user asks for yields to what the spec recommends",
        "zoo/registry/params.py",
        "{**spec.params, **given}",
        "{**given, **spec.params}",
        "tests/registry/test_params.py",
    ),
    Mutant(
        "a seed that torch does not take is taken",
        "zoo/registry/settings.py",
        "ge=0, lt=2**63)",
        "ge=-1, lt=2**64)",
        "tests/registry/test_settings.py",
    ),
    Mutant(
        "several tests are judged as if each were the only one",
        "zoo/results/significance.py",
        "(len(values) - rank) * values[index]",
        "values[index]",
        "tests/results/test_significance.py",
    ),
    Mutant(
        "results on other samples are compared",
        "zoo/results/comparison.py",
        "    if len(groups) > 1:\n",
        "    if len(groups) > len(results):\n",
        "tests/results/test_comparison.py",
    ),
)


def main(numbers: Sequence[int]) -> int:
    """Try the mutants of these numbers, counted from 1, or all; return how many lived."""
    chosen = [(number, MUTANTS[number - 1]) for number in numbers or range(1, len(MUTANTS) + 1)]
    lived = 0
    with tempfile.TemporaryDirectory(prefix="zoo-mutants-") as folder:
        copy = Path(folder)
        copy_tree(copy)
        print("without a mutant ...", flush=True)
        if code := run_tests(copy, sorted({mutant.test for _, mutant in chosen})):
            print(f"the tests fail without a mutant (exit code {code}): nothing can be told", file=sys.stderr)
            return len(chosen)
        for number, mutant in chosen:
            file, whole = copy / mutant.file, (copy / mutant.file).read_text(encoding="utf-8")
            file.write_text(mutate(whole, mutant), encoding="utf-8")
            code = run_tests(copy, [mutant.test])
            file.write_text(whole, encoding="utf-8")
            verdict = {0: "LIVED", 1: "killed"}.get(code, f"killed, but by exit code {code}")
            lived += code == 0
            print(f"{number:2} {verdict:7} {mutant.fault} ({mutant.file})", flush=True)
    print(f"{len(chosen) - lived} of {len(chosen)} killed")
    return lived


def mutate(whole: str, mutant: Mutant) -> str:
    """Return the content of a file with the mutant's text replaced; raise ValueError unless it is there once."""
    if (count := whole.count(mutant.text)) != 1:
        raise ValueError(f"{mutant.file}: expected {mutant.text!r} once, found it {count} times")
    return whole.replace(mutant.text, mutant.instead)


def copy_tree(target: Path) -> None:
    """Copy what the tests need."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignored)
        elif source.exists():
            shutil.copy(source, target / part)


def run_tests(copy: Path, tests: Sequence[str]) -> int:
    """Run tests in the copy, until the first failure; return pytest's exit code: 0 passed, 1 failed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (copy, copy / "plugins"))),
        "ZOO_TEST_NO_SKIP": "",
    }
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two changes within a second look the same to a cache of bytecode
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-x",
        "-q",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False, timeout=900).returncode


if __name__ == "__main__":
    sys.exit(1 if main([int(argument) for argument in sys.argv[1:]]) else 0)
