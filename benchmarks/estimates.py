"""Whether `zoo check` says what a run then takes: the seconds of an epoch, and the memory of the process.

Each is a ratio of two commands, one after the other: what the check estimates, over what the record of the run says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import check_ratio, make_parser

CASES = (
    ("baseline", "fashionmnist", ("--epochs", "3")),
    ("baseline", "fashionmnist", ("--epochs", "3", "--validation", "0.1", "--optimizer", "adam", "--augment", "flip")),
    ("relu-mlp", "fashionmnist", ("--epochs", "2", "--no-capture", "--param", "hidden_units=512")),
    ("tinyvgg", "fashionmnist", ("--epochs", "1")),
    ("tinyvgg", "fashionmnist", ("--epochs", "1", "--processes", "2")),
    ("torchvision/resnet18", "shapes", ("--epochs", "2", "--input-size", "64")),
    ("tinyvgg", "./shards", ("--epochs", "1")),
)
"""`./shards` are those of FashionMNIST, which workers read."""
LIMIT = 1.2


def call(*words: str) -> str:
    """Return what a command of zoo prints."""
    return subprocess.run([sys.executable, "-m", "zoo", *words], check=True, capture_output=True, text=True).stdout


def compare(model: str, dataset: str, options: tuple[str, ...], data: str) -> dict[str, float]:
    """Return the estimates of a check over what a run takes: training and evaluation of an epoch, and memory."""
    if dataset == "./shards":
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/shards"
            call("data", "shard", "fashionmnist", "--output", path, "--size", "8MB", "--data-dir", data)
            return compare(model, path, options, data)
    words = ("--model", model, "--dataset", dataset, "--data-dir", data, *options)
    told = json.loads(call("check", *words, "--json"))["estimates"]
    with tempfile.TemporaryDirectory() as runs:
        call("run", *words, "--runs-dir", runs)
        record = json.loads(next(Path(runs).glob("*/run.json")).read_text("utf-8"))
    judged = "validation" if "validation" in record["history"][0] else "test"
    seconds = {part: median(epoch["seconds"][part] for epoch in record["history"]) for part in ("train", judged)}
    return {
        "training": told["epoch_seconds"] / seconds["train"],
        "evaluation": told["evaluation_seconds"] / seconds[judged],
        "epoch": (told["epoch_seconds"] + told["evaluation_seconds"]) / sum(seconds.values()),
        "memory": told["peak_bytes"] / record["peak_memory"],
    }


def main() -> int:
    parser = make_parser(__doc__, rounds=3, data=True)
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many of the combinations are compared")
    options = parser.parse_args()
    kept = []
    for model, dataset, words in CASES[: options.cases]:
        found = [compare(model, dataset, words, str(options.data_dir)) for _ in range(options.rounds)]
        ratios = {name: median(each[name] for each in found) for name in found[0]}
        print(
            f"{model} on {dataset} {' '.join(words)}: " + ", ".join(f"{n} {r:.2f}" for n, r in ratios.items()),
            flush=True,
        )
        # Too much is as wrong as too little.
        off = {name: max(ratios[name], 1 / ratios[name]) for name in ("epoch", "memory")}
        kept += [check_ratio(f"{name}, estimated / taken, or the inverse", off[name], LIMIT) for name in off]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
