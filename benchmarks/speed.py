"""The whole table of docs/guide/speed.md: the benchmarks that hold it, one after the other, several times.

Each row is what a script prints beside a limit, with its value in each pass. A pass takes some minutes, and means
something on a machine that does nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from measure import make_parser

SCRIPTS = {
    "layout.py": [],
    "overhead.py": [],
    "command.py": ["--threads", "1"],
}
DATA = {"overhead.py", "command.py"}
"""Those that need real data."""
ROW = re.compile(r"(?P<what>\S.*?) +(?P<value>-?[\d.]+) +limit (?P<limit>\S+) +(ok|MISSED)")


def run_script(name: str, arguments: list[str]) -> dict[str, tuple[float, float]]:
    """Return the rows that a script prints, each with its value and limit."""
    command = [sys.executable, str(Path(__file__).with_name(name)), "--no-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    found = filter(None, map(ROW.fullmatch, done.stdout.splitlines()))
    return {row["what"]: (float(row["value"]), float(row["limit"])) for row in found}


def main() -> int:
    parser = make_parser(__doc__, rounds=3, data=True)
    parser.add_argument("--passes", type=int, default=3, help="how often each script runs")
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = {}
    for number in range(1, options.passes + 1):
        for name, given in SCRIPTS.items():
            data = ["--data-dir", str(options.data_dir)] if name in DATA else []
            found = run_script(name, ["--rounds", str(options.rounds), *given, *data])
            print(f"pass {number} of {options.passes}, {name}:", flush=True)
            for what, row in found.items():
                print(f"  {what:<44} {row[0]:7.3f}   limit {row[1]:g}", flush=True)
                rows.setdefault(what, []).append(row)
    kept = True
    for what, row in rows.items():
        held = all(value <= limit for value, limit in row)
        kept = kept and held
        values = " ".join(f"{value:7.3f}" for value, _ in row)
        print(f"{what:<46} {values}   limit {row[0][1]:g}   {'ok' if held else 'MISSED'}")
    return 0 if options.no_check or kept else 1


if __name__ == "__main__":
    sys.exit(main())
