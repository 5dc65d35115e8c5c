"""Seeing: what it costs a run to write its predictions down, and how long many runs take to compare and to report."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest.mock import patch

from measure import Times, alternate, check_ratio, find_ratio, make_parser

import zoo
from zoo.training.predictions import OutcomeCollector
from zoo.training.recording import Recording

WRITING_LIMIT = 1.02
COMPARE_LIMIT, REPORT_LIMIT = 2.0, 5.0
"""Seconds of a whole command, with all that it imports; `zoo report` imports torch."""
PAGE_LIMIT = 500
"""Thousands of bytes of the page on many runs."""


class Stopwatch:
    """Adds up the seconds of the calls that go through it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            started = perf_counter()
            try:
                return call(*arguments)
            finally:
                self.seconds += perf_counter() - started

        return watched


def measure_writing(options: argparse.Namespace, folder: Path) -> list[bool]:
    """Compare a run of `baseline` with the same run less what collecting and writing its predictions took.

    Both come from one run: two of them differ by more than this, whatever they do.
    """
    settings = {"dataset": options.dataset, "epochs": options.epochs, "threads": 1, "runs_dir": folder}
    times: Times = {"with": [], "without": []}
    zoo.run("baseline", **settings)  # the first run imports and reads more
    for _ in range(options.rounds):
        added = Stopwatch()
        started = perf_counter()
        with (
            patch.object(OutcomeCollector, "update", added.watch(OutcomeCollector.update)),
            patch.object(Recording, "save_predictions", added.watch(Recording.save_predictions)),
        ):
            zoo.run("baseline", **settings)
        times["with"].append(perf_counter() - started)
        times["without"].append(times["with"][-1] - added.seconds)
    for name, seconds in times.items():
        print(f"a run {name:<8} its predictions {median(seconds):8.4f} s")
    return [check_ratio("a run with its predictions / without", find_ratio(times, "with", "without"), WRITING_LIMIT)]


def measure_commands(options: argparse.Namespace, folder: Path) -> list[bool]:
    """Time `zoo compare` and `zoo report` as commands on many runs, and for comparison a Python that imports torch."""
    for seed in range(options.runs):
        zoo.run("baseline", dataset=options.dataset, epochs=1, seed=seed, threads=1, runs_dir=folder)
    runs = sorted(map(str, folder.iterdir()))
    page = folder.with_suffix(".html")

    def call(*command: str) -> Callable[[], float]:
        def timed() -> float:
            started = perf_counter()
            subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
            return perf_counter() - started

        return timed

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    times = alternate(
        options.rounds,
        {
            "import torch": call("-c", "import torch"),
            "compare": call("-m", "zoo", "compare", *runs),
            "report": call("-m", "zoo", "report", *runs, "--output", str(page)),
        },
    )
    print(f"a Python that imports torch {median(times['import torch']):8.3f} s")
    # The quickest round: what the command takes, not what else the machine does.
    return [
        check_ratio(f"zoo compare, {len(runs)} runs, seconds", min(times["compare"]), COMPARE_LIMIT),
        check_ratio(f"zoo report, {len(runs)} runs, seconds", min(times["report"]), REPORT_LIMIT),
        check_ratio(f"its page, {len(runs)} runs, kB", page.stat().st_size / 1000, PAGE_LIMIT),
    ]


def main() -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--dataset", default="fashionmnist", help="what the runs train on, from ZOO_DATA_DIR")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of a run")
    parser.add_argument("--runs", type=int, default=20, help="runs to compare and to report")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kept = [*measure_writing(options, folder / "writing"), *measure_commands(options, folder / "runs")]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
