"""The whole command: `zoo run` against the same training as a program of its own, from start to end of a process.

One is the course's program, the other a loop by hand over inputs in memory, `eager.py`. Both read files that are
unpacked, by torchvision; zoo unpacks what it reads where there is nothing else.

Then what parts of a command take: one with `--compile` beside one without, where an earlier one made the machine code;
and what comes after the last epoch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from unittest.mock import patch

from measure import alternate, check_ratio, find_ratio, make_parser, unpacked

LIMITS = {"course": 0.4, "eager": 0.72}
COMPILED_LIMIT, END_LIMIT = 0.5, 0.2
"""Seconds: what `--compile` adds, and from the last epoch to the end of a run."""
FOLDER = Path(__file__).parent
END = """
import sys, time, zoo
ended = []
settings = {"data_dir": sys.argv[1], "runs_dir": sys.argv[2], "offline": True, "device": "cpu", "epochs": 1}
zoo.run("baseline", "fashionmnist", on_epoch=lambda epoch: ended.append(time.perf_counter()), **settings)
print(time.perf_counter() - ended[-1])
"""


def run_process(arguments: list[str], threads: int) -> tuple[float, str]:
    """Return the seconds a Python process takes, and what it prints; 0 threads leaves their number as it comes."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    started = perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return perf_counter() - started, done.stdout


def time_process(arguments: list[str], threads: int) -> float:
    return run_process(arguments, threads)[0]


def time_parts(run: list[str], data: Path, runs: str, rounds: int) -> list[bool]:
    """Time a second command with `--compile`, and the end of a run; return what keeps its limit."""
    with TemporaryDirectory() as made, patch.dict("os.environ", {"TORCHINDUCTOR_CACHE_DIR": made}):
        compiled = [*run, "--compile"]
        time_process(compiled, 1)
        times = alternate(
            rounds, {"with": partial(time_process, compiled, 1), "without": partial(time_process, run, 1)}
        )
        ends = [float(run_process(["-c", END, str(data), runs], 1)[1]) for _ in range(rounds)]
    more = median(a - b for a, b in zip(times["with"], times["without"], strict=True))
    return [
        check_ratio("seconds that --compile adds, the second time", more, COMPILED_LIMIT),
        check_ratio("seconds after the last epoch", median(ends), END_LIMIT),
    ]


def main() -> int:
    parser = make_parser(__doc__, rounds=3, data=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 0], help="for both; 0 leaves it as it comes")
    options = parser.parse_args()
    kept = []
    with unpacked(options.data_dir) as unpacked_root, TemporaryDirectory() as runs:
        # zoo reads the files as they are, packed or not.
        run = ["-m", "zoo", "run", "--model", "baseline", "--dataset", "fashionmnist", "--device", "cpu", "--offline"]
        run += ["--data-dir", str(options.data_dir), "--runs-dir", runs, "--epochs", str(options.epochs)]
        programs = {name: [str(FOLDER / f"{name}.py"), str(unpacked_root), str(options.epochs)] for name in LIMITS}
        for threads in options.threads:
            contenders = {"zoo": partial(time_process, run, threads)}
            contenders |= {name: partial(time_process, program, threads) for name, program in programs.items()}
            times = alternate(options.rounds, contenders)
            setting = "one thread" if threads == 1 else f"{threads or 'default'} threads"
            print(f"{setting}: " + ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in times.items()))
            for name, limit in LIMITS.items():
                kept.append(check_ratio(f"zoo / {name}, {setting}", find_ratio(times, "zoo", name), limit))
        if options.epochs:
            kept += time_parts(run, options.data_dir, runs, options.rounds)
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
