"""Cells: the runs of a matrix, and what each of them came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.display import align, make_table, say
from zoo.errors import ZooError
from zoo.records.plain import to_json_data
from zoo.records.run_folder import FINISHED
from zoo.results.report.overview import Overview
from zoo.results.significance import mean_and_deviation

UNFIT = "unfit"
"""The status of a cell whose model cannot work with its data set."""


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """A run of a matrix.

    Fields:
        name: Of its run folder.
        model, dataset, seed: What is trained, by their shortest names.
        status: What became of it, a word of `RunRecord`; `waiting` where it was not begun, `unfit` where the model
            cannot work with the data set.
        metrics: The scores on the test split; empty where there are none.
        seconds: How long it took; of a dry run how long it would, None where the data are not here.
        run: The folder of its newest run.
        why: What ended it, in words, where it did not finish, or why it is unfit.
        exit_code: That of `zoo run` for what ended it; 0 where nothing did, and where it is unfit.
    """

    name: str
    model: str
    dataset: str
    seed: int
    status: str
    metrics: Mapping[str, float | None]
    seconds: float | None = None
    run: Path | None = None
    why: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Matrix:
    """What a matrix came to.

    Fields:
        folder: Its folder, a folder of runs.
        metric: What its table shows: the mean and the deviation over the seeds.
        cells: All of them, in the order in which they are done.
        part: Which of how many parts was done here, `(2, 8)` say.
        table: The file with a line for each cell; None in a dry run.
        page: The report; None while cells are to be done, or where jinja2 or matplotlib is not installed.
    """

    folder: Path
    metric: str
    cells: tuple[MatrixCell, ...]
    part: tuple[int, int] = (1, 1)
    table: Path | None = None
    page: Path | None = None

    def count(self, *statuses: str) -> int:
        """Return how many cells came to one of these."""
        return sum(cell.status in statuses for cell in self.cells)

    def find_failure(self) -> ZooError | None:
        """Return an error that says how many cells of this part failed, with the exit code of the first, if any did."""
        number, parts = self.part
        mine = [cell for cell in self.cells if cell.run or cell.status != UNFIT][number - 1 :: parts]
        failed = [cell for cell in mine if cell.exit_code]
        if not failed:
            return None
        first = failed[0]
        why = f"the first one, {first.model} on {first.dataset} with seed {first.seed}: {first.why}"
        error = ZooError(f"{len(failed)} of {len(mine)} cells failed", why, f"Their records are in {self.folder}")
        error.exit_code = first.exit_code
        return error

    def make_rows(self) -> list[list[str]]:
        """Return a row for each model and a column for each data set, the heading first."""
        models = list(dict.fromkeys(cell.model for cell in self.cells))
        datasets = list(dict.fromkeys(cell.dataset for cell in self.cells))
        rows = [[f"test {self.metric}", *datasets]]
        return rows + [[model, *(self._show(model, dataset) for dataset in datasets)] for model in models]

    def _show(self, model: str, dataset: str) -> str:
        cells = [cell for cell in self.cells if (cell.model, cell.dataset) == (model, dataset)]
        scores = [score for cell in cells if (score := cell.metrics.get(self.metric)) is not None]
        if not scores:
            return cells[0].status
        mean, deviation = mean_and_deviation(scores)
        spread = "" if deviation is None else f" ± {deviation:.4f}"
        return f"{mean:.4f}{spread}" + ("" if len(scores) == len(cells) else f" ({len(scores)} of {len(cells)})")

    def make_overview(self) -> Overview:
        """Return what its page begins with."""
        named = {"model": "model", "dataset": "data set", "seed": "seed"}
        counts = {name: len({getattr(cell, part) for cell in self.cells}) for part, name in named.items()}
        title = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
        spread = ["The mean over the seeds ± their standard deviation."] if counts["seed"] > 1 else []
        return Overview(title=title, rows=self.make_rows(), remarks=[*spread, *self.list_reasons()])

    def list_reasons(self) -> list[str]:
        """Return a line for each thing that kept cells from finishing, with the pair that it happened to first."""
        reasons: dict[tuple[str, str, str], list[MatrixCell]] = {}
        for cell in self.cells:
            if cell.why:
                reasons.setdefault((cell.model, cell.dataset, cell.why), []).append(cell)
        return [
            f"{model} on {dataset}: {cells[0].status}{f', {len(cells)} seeds' if len(cells) > 1 else ''}: {why}"
            for (model, dataset, why), cells in reasons.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        cells = [{**asdict(cell), "run": None if cell.run is None else str(cell.run)} for cell in self.cells]
        files = {
            name: None if path is None else str(path) for name, path in (("table", self.table), ("page", self.page))
        }
        told = {"folder": str(self.folder), "metric": self.metric, "part": list(self.part), "cells": cells, **files}
        plain: dict[str, Any] = to_json_data(told)
        return plain

    def __repr__(self) -> str:
        told = f"{self.count(FINISHED)} of {len(self.cells)} cells finished"
        return f"{say('Matrix', told, folder=self.folder)}\n{align(self.make_rows())}"

    def _repr_html_(self) -> str:
        heading, *rows = self.make_rows()
        return make_table(rows, heading, caption=f"{len(self.cells)} cells in {self.folder}")
