"""The whole command: `zoo run` against the same training as a program of its own, from start to end of a process.

One is the course's program, the other a loop by hand over inputs in memory, `eager.py`. Both read files that are
unpacked, by torchvision; zoo unpacks what it reads where there is nothing else.
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

from measure import alternate, check_ratio, find_ratio, make_parser, unpacked

LIMITS = {"course": 0.4, "eager": 0.72}
FOLDER = Path(__file__).parent


def time_process(arguments: list[str], threads: int) -> float:
    """Return the seconds a Python process takes; 0 threads leaves their number as it comes."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    started = perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return perf_counter() - started


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
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
