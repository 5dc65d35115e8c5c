"""Listing of runs: those of a folder that were asked for, in an order, as a table that fits its terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

from zoo.display import align, make_table
from zoo.errors import SettingError, UsageError, quote, suggest
from zoo.records.conditions import check_name, choose
from zoo.records.run_folder import STATUSES
from zoo.records.run_index import list_runs
from zoo.records.summary import COLUMNS, RunSummary, show_start
from zoo.registry.arguments import checked
from zoo.storage.folders import runs_dir as find_runs_dir

FIRST_PARTY, NEWEST_FIRST = "zoo", "-started"
WIDTH = 80
"""Columns of a table where no terminal says how many it has."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RunListing:
    """Runs of a folder; its `repr` is a table.

    Fields:
        folder: The folder.
        runs: Those that were asked for, in the order that was asked for.
        total: How many the folder has.
        asked: The names by which they were chosen and sorted, which the table shows first.
    """

    folder: Path
    runs: tuple[RunSummary, ...]
    total: int
    asked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"folder": str(self.folder), "total": self.total, "runs": [run.to_dict() for run in self.runs]}

    def make_rows(self, width: int = WIDTH) -> list[tuple[str, ...]]:
        """Return a table of at most so many columns, its first row the heading.

        Names of runs are never cut: whoever sees one can type it. What does not fit beside them is left out.
        """
        if not self.runs:
            return []
        found = [("run", [run.name for run in self.runs]), ("status", [run.status or "-" for run in self.runs])]
        left = width - 2 - sum(_measure(*column) for column in found)
        for name in dict.fromkeys([*self.asked, "epochs", *self._find_scores(), "model", "dataset", "started"]):
            cells = _show_column(name, self.runs)
            left -= 2 + _measure(name, cells)
            if left < 0:
                break
            found.append((name, cells))
        return list(zip(*([name, *cells] for name, cells in found), strict=True))

    def _find_scores(self) -> list[str]:
        """Return the scores by which runs are compared, those of most runs first, the loss after the others."""
        counts = Counter(chain.from_iterable(run.metrics for run in self.runs))
        validation = Counter(chain.from_iterable(run.validation for run in self.runs))
        counts.update({f"validation.{name}": count for name, count in validation.items()})
        return sorted(counts, key=lambda name: (-counts[name], name.endswith("loss"), "." in name))

    def __repr__(self) -> str:
        return align(self.make_rows()) or f"no runs in {self.folder}"

    def _repr_html_(self) -> str:
        heading, *rows = self.make_rows(200) or [("run",)]
        return make_table(rows, heading, caption=f"{len(self.runs):,} of {self.total:,} runs in {self.folder}")


def _measure(name: str, cells: Sequence[str]) -> int:
    return max(len(name), *map(len, cells))


def _show_column(name: str, runs: Sequence[RunSummary]) -> list[str]:
    """Return the cells of a column; of a run that ended early, or goes on, `3/10` epochs."""
    if name == "epochs":
        pairs = [(run.epoch, run.epochs) for run in runs]
        told = {pair: _show_epochs(*pair) for pair in {*pairs}}
        return [told[pair] for pair in pairs]
    if name == "started":
        return [show_start(run.start) or "-" for run in runs]
    if name in ("model", "dataset"):
        values = [getattr(run, name) for run in runs]
        shown = {value: value.removeprefix(f"{FIRST_PARTY}/") or "-" for value in {*values}}
        return [shown[value] for value in values]
    if any(name in run.metrics for run in runs):
        scores = [run.metrics.get(name) for run in runs]
        return ["-" if score is None else f"{score:.4f}" for score in scores]
    return [_show(name, run.find(name)) for run in runs]


def _show_epochs(epoch: int, epochs: int | None) -> str:
    return "-" if epochs is None else f"{epochs}" if epoch == epochs else f"{epoch}/{epochs}"


def _show(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f} s" if name == "seconds" else f"{value:.4f}" if "validation." in name else f"{value:g}"
    return "-" if value is None else str(value)


@checked
def runs(
    *,
    model: str | None = None,
    dataset: str | None = None,
    status: str | None = None,
    where: str | Sequence[str] = (),
    sort: str = NEWEST_FIRST,
    top: int | None = None,
    runs_dir: str | Path | None = None,
) -> RunListing:
    """Return the runs of a folder, the newest first.

    Args:
        model: Only those of this model; a shell pattern for `name` or `plugin/name`.
        dataset: Only those on this data set, likewise.
        status: Only those of this status: `finished`, `running`, `interrupted`, `failed`, `diverged`, `pruned`,
            `killed`, `unknown` or `damaged`.
        where: Only those that meet this condition, or all of these: `accuracy>0.85`, `lr<=0.1`, `optimizer=adam`,
            `validation.loss<1`. A run that has no such thing meets none; `patience=none` asks for that.
        sort: The name of a column or of anything that `where` can name, with a hyphen before it from high to low.
            Runs without a value come last.
        top: At most so many, the first ones.
        runs_dir: The folder. By default `ZOO_RUNS_DIR`, else `runs`.

    Raises:
        UsageError: a condition cannot be read, or there is nothing of a name.
        SettingError: there is no such status.
    """
    folder = find_runs_dir(runs_dir)
    every = list_runs(folder)
    if status is not None and status not in STATUSES:
        raise SettingError("status", f"expected one of {', '.join(STATUSES)}", status, suggest(status, STATUSES, ""))
    if top is not None and top < 1:
        raise SettingError("top", "must be at least 1", top)
    conditions, met = choose([where] if isinstance(where, str) else where, every)
    key, falls = sort.removeprefix("-"), sort.startswith("-")
    if not key:
        raise UsageError(f"nothing can be sorted by {quote(sort)}", fix=f"Use one of: {', '.join(COLUMNS)}")
    check_name(key, every)
    found = [
        run
        for run in met
        if _is_like(run.model, model) and _is_like(run.dataset, dataset) and status in (None, run.status)
    ]
    asked = [*([key] if sort != NEWEST_FIRST else []), *(condition.name for condition in conditions)]
    own = tuple(name for name in dict.fromkeys(asked) if name not in ("run", "status"))
    return RunListing(folder=folder, runs=tuple(_sort(found, key, falls)[:top]), total=len(every), asked=own)


def _is_like(name: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


def _sort(found: Sequence[RunSummary], key: str, falls: bool) -> list[RunSummary]:
    """Return runs in an order, those without a value last; the runs come the oldest first, and stay so where equal."""
    if key == "started":
        return [*(reversed(found) if falls else found)]
    values: Mapping[str, Any] = {run.name: run.find(key) for run in found}
    known = [run for run in found if values[run.name] not in (None, "")]
    known.sort(key=lambda run: _rank(values[run.name]), reverse=falls)
    return [*known, *(run for run in found if values[run.name] in (None, ""))]


def _rank(value: Any) -> tuple[bool, float, str]:
    """Return what numbers and texts can be sorted by, numbers first."""
    is_text = isinstance(value, str)
    return is_text, -inf if is_text else value, value if is_text else ""
