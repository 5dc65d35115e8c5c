"""The whole command: `zoo run` against the course's program, each a process of its own, from start to end."""

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

LIMIT = 0.4
COURSE = Path(__file__).with_name("course.py")


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
        course = [str(COURSE), str(unpacked_root), str(options.epochs)]
        for threads in options.threads:
            contenders = {"zoo": partial(time_process, run, threads), "course": partial(time_process, course, threads)}
            times = alternate(options.rounds, contenders)
            setting = "one thread" if threads == 1 else f"{threads or 'default'} threads"
            print(f"{setting}: zoo {median(times['zoo']):.2f} s, course {median(times['course']):.2f} s")
            kept.append(check_ratio(f"zoo / course, {setting}", find_ratio(times, "zoo", "course"), LIMIT))
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
