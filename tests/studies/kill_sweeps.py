"""A script: a sweep is killed ten times and begun again each time, and compared with one that was not.

It prints one JSON object: what both came to, and what was lost on the way. Each sweep is a process of its own, forked
from this one, and is killed before a system call that changes its folder, which is chosen by a seed.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from system_calls import Fault, run_traced

import zoo
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.runs import read_record
from zoo.results.plots.style import save_figure
from zoo.results.plots.sweep import plot_sweep

KILLS = 10
TRIALS = 4
DATA = {"train_size": 64, "test_size": 40}


def sweep(folder: Path, sampler: Any) -> int:
    zoo.sweep(
        dataset_params=DATA,
        vary={"lr": "log:1e-3..1", "param.hidden_units": [4, 8]},
        trials=TRIALS,
        sampler=sampler,
        validation=0.25,
        epochs=1,
        batch_size=16,
        threads=1,
        output=folder,
    )
    return 0


def look(folder: Path) -> dict[str, Any]:
    """Return of each finished run what it was told, what it came to, and its weights."""
    found = {}
    for path in sorted(folder.glob("trial-*/run.json")):
        record = read_record(path)
        if record.status == "finished":
            weights = path.with_name("weights.safetensors")
            digest = read_metadata(weights, read_header(weights).metadata).digests["tensors"]
            told = [record.train_config["lr"], record.params["hidden_units"], record.best["value"]]
            found[path.parent.name] = [*told, digest, weights.stat().st_mtime_ns]
    return found


def main(scratch: Path, sampler: str) -> None:
    whole, killed = scratch / "whole", scratch / "killed"
    # What is imported and built here need not be in each of the forks; no training step can follow in a fork of one.
    zoo.run(dataset_params=DATA, epochs=0, threads=1, runs_dir=scratch / "warm")
    save_figure(plot_sweep("warm", {"lr": ([1.0], "log")}, [1.0], 0, "loss"), scratch / "warm.png")
    calls = len(run_traced(lambda: sweep(whole, sampler), str(whole), Fault()).calls)
    generator, lost, codes = random.Random(7), [], []
    for _ in range(KILLS):
        before = look(killed)
        fault = Fault(generator.randrange(1, calls // 4), "KILL")
        codes.append(run_traced(lambda: sweep(killed, sampler), str(killed), fault).code)
        after = look(killed)
        lost += [name for name in before if after.get(name) != before[name]]
    before = look(killed)
    codes.append(run_traced(lambda: sweep(killed, sampler), str(killed), Fault()).code)
    after = look(killed)
    lost += [name for name in before if after.get(name) != before[name]]
    # Which attempt it was that came to its end is another matter.
    ends = [{name[:9]: facts[:4] for name, facts in found.items()} for found in (look(whole), after)]
    attempts = [path.name for path in killed.glob("trial-*")]
    print(json.dumps({"codes": codes, "lost": lost, "whole": ends[0], "killed": ends[1], "attempts": attempts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
