"""What the benchmarks share: alternating rounds, busy neighbours, ratios held against a limit, and the data folder."""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

Times = dict[str, list[float]]


def make_parser(description: str | None, rounds: int, *, data: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has, and --data-dir when it needs real data."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="alternating rounds")
    parser.add_argument("--no-check", action="store_true", help="exit with 0 whatever the ratios")
    if data:
        place = os.environ.get("ZOO_DATA_DIR")
        parser.add_argument("--data-dir", type=Path, default=place, required=not place, help="holds FashionMNIST/raw")
    return parser


def alternate(rounds: int, contenders: dict[str, Callable[[], float]]) -> Times:
    """Ask each contender for its seconds once per round: a slow spell of the machine then meets all of them."""
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append(contender())
    return times


def find_ratio(times: Times, name: str, reference: str) -> float:
    """Return the median of the ratios of each round, which drift and single hiccups hardly touch."""
    return median(a / b for a, b in zip(times[name], times[reference], strict=True))


def check_ratio(what: str, ratio: float, limit: float) -> bool:
    """Print a ratio with its limit; tell whether it keeps it."""
    kept = ratio <= limit
    print(f"{what:<44} {ratio:7.3f}   limit {limit:g}   {'ok' if kept else 'MISSED'}", flush=True)
    return kept


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep this many cores busy with processes that only spin."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def unpacked(root: Path) -> Iterator[Path]:
    """Give a data folder with unpacked files, which torchvision needs: `root`, or a temporary copy."""
    packed = sorted((root / "FashionMNIST" / "raw").glob("*-ubyte.gz"))
    if all(path.with_suffix("").exists() for path in packed):
        yield root
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "FashionMNIST", "raw")
        folder.mkdir(parents=True)
        for path in packed:
            with gzip.open(path) as source, (folder / path.stem).open("wb") as target:
                shutil.copyfileobj(source, target)
        yield Path(temporary)
