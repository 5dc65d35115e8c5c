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
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from measure import alternate, check_ratio, find_ratio, make_parser

import zoo
from zoo.records.run_index import TICK

LIMIT = 0.25
"""Seconds of either command with 10,000 runs, on a machine with nothing else to do."""
LIST_LIMIT, LAST_LIMIT = 4.5, 2.5
"""How many times what it costs to look at no run: the fastest Python with click, and one that shows weights by path."""
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


def call(environment: dict[str, str], program: Path, *arguments: str) -> float:
    """Return the seconds that a command takes."""
    started = perf_counter()
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
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
        zoo_call = partial(call, environment, program)
        print(f"{'zoo runs, the first time':<40} {zoo_call('runs', '--runs-dir', str(folder)):7.3f} s")
        changed = sorted(folder.iterdir())[:: max(1, options.runs // CHANGED)][:CHANGED]
        for number, run in enumerate(changed):
            write_record(run, json.loads((run / "run.json").read_text()), number)
        place = ["--runs-dir", str(folder)]
        last = str(max(folder.iterdir()))
        contenders = {
            "zoo --version": partial(zoo_call, "--version"),
            "zoo runs": partial(zoo_call, "runs", *place),
            "zoo runs --where accuracy>0.9": partial(zoo_call, "runs", *place, "--where", "accuracy>0.9"),
            "zoo runs --where lr<0.5 --where seed<9": partial(
                zoo_call, "runs", *place, "--where", "lr<0.5", "--where", "seed<9"
            ),
            "zoo show PATH": partial(zoo_call, "show", last),
            "zoo show @last": partial(zoo_call, "show", "@last", *place),
        }
        times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<40} {min(seconds):7.3f} s at least, median {median(seconds):.3f} s")
    whole = options.runs >= 10_000
    kept_limits = [
        check_ratio("zoo runs / zoo --version", find_ratio(times, "zoo runs", "zoo --version"), LIST_LIMIT),
        check_ratio("zoo show @last / zoo show PATH", find_ratio(times, "zoo show @last", "zoo show PATH"), LAST_LIMIT),
        *(check_ratio(f"{name}, seconds at least", min(times[name]), LIMIT) for name in ("zoo runs", "zoo show @last")),
    ]
    return 0 if options.no_check or not whole or all(kept_limits) else 1


if __name__ == "__main__":
    sys.exit(main())
