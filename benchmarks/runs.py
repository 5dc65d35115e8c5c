"""The history of runs: what `zoo runs` and `@last` cost with 10,000 runs, beside commands that look at none.

The runs have the record of one that is trained here, each with its own time, seed and scores, and its weights. The
first listing reads every record; the others only look whether one has changed, and 20 of them have.
"""

from __future__ import annotations

import compileall
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from measure import alternate, check_ratio, find_ratio, make_parser

import zoo
from zoo.records.run_index import TICK

LIMIT = 0.25
"""Seconds of either command with 10,000 runs, on a machine with nothing else to do."""
LIST_LIMIT, LAST_LIMIT = 3.6, 4.2
"""The same limit as times of `zoo --version`, a Python with click that does nothing: a busy machine slows both."""
BUSY = 1.5
"""Load of a machine on which seconds say nothing; this benchmark alone makes 1."""
CHANGED = 20
BEGIN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
# As an installer writes the console script.
PROGRAM = "import sys\nfrom zoo.cli.main import entry\nif __name__ == '__main__':\n    sys.exit(entry())\n"


def make_runs(folder: Path, count: int) -> None:
    """Make so many folders of runs."""
    trained = zoo.run(epochs=5, dataset_params={"train_size": 640, "test_size": 200}, runs_dir=folder.parent / "one")
    record = json.loads((trained.run / "run.json").read_text())
    for number in range(count):
        run = folder / f"{BEGIN + timedelta(minutes=number):%Y%m%d-%H%M%S}-baseline-shapes"
        run.mkdir(parents=True)
        write_record(run, record, number)
        os.link(trained.weights, run / "weights.safetensors")


def write_record(run: Path, record: dict, number: int) -> None:
    """Write the record of a run as if it had been that one."""
    seed = random.randrange(10**6)
    scores = {"metrics": {"loss": random.random(), "accuracy": random.random()}}
    told = {"started": (BEGIN + timedelta(minutes=number)).isoformat(), "seed": seed, **scores}
    settings = {**record["train_config"], "seed": seed}
    (run / "run.json").write_text(json.dumps({**record, **told, "train_config": settings}, indent=2))


@dataclass
class Clock:
    """Times commands: each gives its seconds, and `used` keeps those of the processor alone."""

    environment: dict[str, str]
    used: dict[str, list[float]] = field(default_factory=dict)

    def time(self, name: str, *arguments: str) -> float:
        """Return the seconds that a command takes."""
        before, started = getrusage(RUSAGE_CHILDREN), perf_counter()
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        seconds, after = perf_counter() - started, getrusage(RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
        self.used.setdefault(name, []).append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return seconds


def main() -> int:
    parser = make_parser(__doc__, rounds=15)
    parser.add_argument("--runs", type=int, default=10_000, help="how many there are")
    options = parser.parse_args()
    # Without it each process may compile again what has no .pyc or a stale one.
    compileall.compile_dir(Path(zoo.__file__).parent, quiet=1)
    with TemporaryDirectory() as temporary:
        folder, program = Path(temporary, "runs"), Path(temporary, "zoo")
        program.write_text(PROGRAM)
        make_runs(folder, options.runs)
        sleep(TICK + 1)  # what is newer is read each time
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ZOO_"))}
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path(zoo.__file__).parents[1])]))
        environment = {**kept, "PYTHONPATH": path, "ZOO_HOME": str(Path(temporary, "home"))}
        clock = Clock(environment)
        place, last = ["--runs-dir", str(folder)], str(max(folder.iterdir()))
        first = clock.time("first", str(program), "runs", *place)
        print(f"{'zoo runs, the first time':<36} {first:7.3f} s")
        changed = sorted(folder.iterdir())[:: max(1, options.runs // CHANGED)][:CHANGED]
        for number, run in enumerate(changed):
            write_record(run, json.loads((run / "run.json").read_text()), number)
        asked = {
            "zoo --version": ["--version"],
            "zoo runs": ["runs", *place],
            "zoo runs --where 'accuracy>0.9'": ["runs", *place, "--where", "accuracy>0.9"],
            "zoo runs --where 'lr<0.5' 'seed<9'": ["runs", *place, "--where", "lr<0.5", "--where", "seed<9"],
            "zoo show PATH": ["show", last],
            "zoo show @last": ["show", "@last", *place],
        }
        plain = {"python -c pass": partial(clock.time, "python -c pass", "-c", "pass")}
        zoos = {name: partial(clock.time, name, str(program), *words) for name, words in asked.items()}
        times = alternate(options.rounds, {**plain, **zoos})
    load = os.getloadavg()[0]
    for name, seconds in times.items():
        told = f"{min(seconds):7.3f} s at least, median {median(seconds):.3f} s"
        print(f"{name:<36} {told}; of the processor {min(clock.used[name]):.3f} s at least")
    whole = options.runs >= 10_000
    kept_limits = [
        check_ratio("zoo runs / zoo --version", find_ratio(times, "zoo runs", "zoo --version"), LIST_LIMIT),
        check_ratio("zoo show @last / zoo --version", find_ratio(times, "zoo show @last", "zoo --version"), LAST_LIMIT),
    ]
    for name in ("zoo runs", "zoo show @last"):
        kept_limits.append(check_ratio(f"{name}, seconds of the processor", min(clock.used[name]), LIMIT))
        is_fast = check_ratio(f"{name}, seconds at least", min(times[name]), LIMIT)
        kept_limits.append(is_fast or load > BUSY)
    if load > BUSY:
        print(f"The machine is busy, its load {load:.1f}: seconds are not held against their limit.")
    return 0 if options.no_check or not whole or all(kept_limits) else 1


if __name__ == "__main__":
    sys.exit(main())
