"""Matrix: every model on every data set with several seeds, each a run, in one table and on one page."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from zoo.checks.combination.preview import estimate_request
from zoo.errors import IncompatibleError, UsageError, ZooError, show
from zoo.records.plain import to_json_data
from zoo.records.run_folder import FINISHED, RUNNING
from zoo.records.runs import RunRecord
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry
from zoo.registry.keywords import Settings
from zoo.registry.origin import Origin
from zoo.registry.places import open_places
from zoo.results.report.page import write_report
from zoo.storage.files import check_writable, write_file
from zoo.studies.cells import UNFIT, Matrix, MatrixCell
from zoo.studies.matrix_file import read_matrix
from zoo.studies.pairs import check_owners, follow_recipe, list_cells
from zoo.studies.part import find_part
from zoo.studies.study import Base, refuse_ranks
from zoo.studies.trials import WAITING, Attempt, Trial, check_jobs, do_all, find_attempts
from zoo.training.plan import Wanted
from zoo.training.recipes import PLACES
from zoo.training.request import Request
from zoo.training.seeds import read_count

log = logging.getLogger("zoo")

TABLE_FILE, PAGE_FILE = "matrix.csv", "report.html"
FREE = (*PLACES, "train.seed", "train.memory_format", "train.processes")
"""Settings that may differ from what a finished run had: where it runs, and what was chosen then."""


@checked
def matrix(
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    *,
    seeds: int | None = None,
    recipe: str | None = None,
    study: str | Path | None = None,
    metrics: str | Sequence[str] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    dataset_params: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int = 1,
    part: str | None = None,
    dry_run: bool = False,
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    on_cell: Callable[[MatrixCell], None] | None = None,
    **settings: Unpack[Settings],
) -> Matrix:
    """Train every model on every data set, each with so many seeds: `seed` and those that follow it.

    `recipe` gives settings and metrics that all follow; its params only go to its own model and data set. `study` is a
    TOML file with any of the arguments `models`, `datasets`, `seeds`, `recipe`, `metrics`, `plugins`, and the tables
    `train`, `params.MODEL` and `dataset_params.DATASET`; arguments win. A pair that does not fit together is told, and
    the others run.

    `output` is the folder, by default `matrix` in that of the runs. The same call goes on there: finished cells are not
    trained again, and there may be more models, data sets and seeds than before. `part`, `"2/8"`, does every eighth
    cell, the second first; where the array of a SLURM job says which task this is, that is the part. Each of `jobs`
    processes does one cell at a time.

    With `dry_run` nothing is trained: the cells have the seconds that they would take.

    Raises:
        UsageError: a name, a setting or a part is wrong, or a finished cell was trained with other settings.
        ZooError: see `zoo.run`; an error of a single cell is told by the cell, unless all fail.
    """
    check_jobs(jobs)
    told = {} if study is None else read_matrix(Path(study))
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline).settle()
    places = replace(places, registry=places.registry.including(told.get("plugins", ())))
    beside = Path(study).expanduser().parent if study is not None and not datasets else Path()
    models, datasets = models or told.get("models", ()), datasets or told.get("datasets", ())
    for name, names in (("models", models), ("datasets", datasets)):
        if not names:
            example = {"models": "baseline", "datasets": "shapes"}[name]
            raise UsageError(f"a matrix of no {name}", fix=f"Name some, {name}=['{example}'] say")
    base = Base(wanted=Wanted(), places=places)
    base, own = follow_recipe(recipe or told.get("recipe"), told, metrics, settings, base)
    count = read_count(told.get("seeds", 1) if seeds is None else seeds)
    for table, names, given in (("params", models, params), ("dataset_params", datasets, dataset_params)):
        of = told.get("models" if table == "params" else "datasets", ())
        check_owners(table, told.get(table, {}), (*names, *of), places.registry)
        check_owners(table, given or {}, names, places.registry)
        own[table] = {**own[table], **told.get(table, {}), **(given or {})}
    cells, requests = list_cells(base, models, datasets, count, own, beside)
    for request in requests.values():
        refuse_ranks(request.plan, "a matrix")
    number, parts = find_part(part, os.environ)
    folder = places.runs_dir / "matrix" if output is None else Path(output).expanduser().absolute()
    metric = next(iter(next(iter(requests.values())).plan.metrics)) if requests else "accuracy"
    whole = Matrix(folder=folder, metric=metric, cells=tuple(cell for cell, _ in cells), part=(number, parts))
    trials = [Trial(name=cell.name, point=point, tested=True) for cell, point in cells if cell.status != UNFIT]
    trials = trials[number - 1 :: parts]
    whole = _gather(whole, requests)
    if dry_run:
        return _foresee(whole, {trial.name for trial in trials}, requests)
    by_name = {cell.name: cell for cell in whole.cells}

    def tell(name: str) -> None:
        if on_cell is not None:
            on_cell(_tell_cell(by_name[name], find_attempts(folder, [name]).get(name)))

    check_writable(folder, fix="Choose another folder with output=...")
    try:
        do_all(base, trials, folder, jobs=jobs, tell=tell)
    except KeyboardInterrupt as error:
        done = _gather(whole, requests)
        told_so = f"{done.count(FINISHED)} of {len(cells)} cells are finished in {folder}; the same command goes on."
        error.__notes__ = [told_so]
        raise
    return _finish(_gather(whole, requests), base)


def _gather(whole: Matrix, requests: Mapping[tuple[str, str], Request]) -> Matrix:
    """Return the matrix with what its folder says of each cell; raise UsageError where a cell was told otherwise."""
    attempts = find_attempts(whole.folder, [cell.name for cell in whole.cells])
    for cell in whole.cells:
        attempt = attempts.get(cell.name)
        if attempt is not None and attempt.status == FINISHED and cell.status != UNFIT:
            _check_cell(cell, requests[cell.model, cell.dataset], attempt)
    return replace(whole, cells=tuple(_tell_cell(cell, attempts.get(cell.name)) for cell in whole.cells))


def _tell_cell(cell: MatrixCell, attempt: Attempt | None) -> MatrixCell:
    if attempt is None or cell.status == UNFIT:
        return cell
    status, code = attempt.status, attempt.exit_code
    if code == UsageError.exit_code:  # known only when the data were loaded, before the first step
        status, code = UNFIT, 0
    metrics = attempt.record.metrics if status == FINISHED else {}
    parts: dict[str, Any] = {"status": status, "metrics": metrics, "seconds": attempt.record.seconds}
    return replace(cell, **parts, run=attempt.folder, why=attempt.why, exit_code=code)


def _check_cell(cell: MatrixCell, request: Request, attempt: Attempt) -> None:
    """Raise UsageError where a finished cell is not what is asked for; names what differs."""
    record: RunRecord = attempt.record
    plan = request.plan
    had: dict[str, Any] = {"model and dataset": record.trained}
    has: dict[str, Any] = {"model and dataset": (plan.model.qualified_name, plan.dataset.qualified_name)}
    had |= {f"metric {name}": record.metric_params.get(name) for name in record.metric_plugins if name in plan.metrics}
    has |= {f"metric {name}": params for name, params in to_json_data(plan.metric_params).items()}
    had |= {f"train.{name}": value for name, value in record.train_config.items()}
    has |= {f"train.{name}": value for name, value in to_json_data(asdict(plan.config)).items()}
    had |= {f"params.{name}": value for name, value in record.params.items()}
    has |= {f"params.{name}": value for name, value in to_json_data(plan.params).items()}
    if record.dataset is not None:
        had |= {f"dataset_params.{name}": value for name, value in (record.dataset.params or {}).items()}
        has |= {f"dataset_params.{name}": value for name, value in to_json_data(plan.dataset_params).items()}
    parts: list[tuple[str, Origin | None, Entry[Any]]] = [("model", record.plugin, plan.model)]
    parts += [("dataset", record.dataset.plugin, plan.dataset)] if record.dataset else []
    for what, origin, entry in parts:
        key = f"the version of the plugin of {what}"
        had[key], has[key] = origin.version if origin else None, entry.plugin.version
    changed = [name for name in {**had, **has} if had.get(name) != has.get(name) and name not in FREE]
    if changed:
        differ = ", ".join(f"{name} differs ({show(had.get(name))} -> {show(has.get(name))})" for name in changed)
        fix = "Ask for the same, or choose another folder with output=..."
        raise UsageError(f"{attempt.folder} is another run", differ, fix)


def _estimate(request: Request) -> tuple[float | None, str, str]:
    """Return how many seconds a training would take, and its status and why where that is not known."""
    try:
        found, data = estimate_request(request)
    except IncompatibleError as error:
        return None, UNFIT, str(error)
    if "epoch_seconds" not in found:
        return None, WAITING, data
    return (found["epoch_seconds"] + found.get("evaluation_seconds", 0.0)) * request.plan.config.epochs, WAITING, ""


def _foresee(whole: Matrix, names: Set[str], requests: Mapping[tuple[str, str], Request]) -> Matrix:
    """Return the cells of a dry run: of those of this part that are to be done, how long each would take."""
    mine = [cell for cell in whole.cells if cell.name in names or cell.status == UNFIT]
    pairs = {(cell.model, cell.dataset): None for cell in mine if cell.status not in (UNFIT, FINISHED)}
    estimates = {pair: _estimate(requests[pair]) for pair in pairs}
    foreseen = []
    for cell in mine:
        if cell.status not in (UNFIT, FINISHED):
            seconds, status, why = estimates[cell.model, cell.dataset]
            foreseen.append(replace(cell, seconds=seconds, status=status, why=why))
        else:
            foreseen.append(cell)
    return replace(whole, cells=tuple(foreseen))


def _finish(done: Matrix, base: Base) -> Matrix:
    """Write the table, and the page when no cell is left to do; raise ZooError where all failed."""
    failed = [cell for cell in done.cells if cell.why]
    if failed and not done.count(FINISHED, WAITING, RUNNING):
        why = f"the first one: {failed[0].why}"
        error = ZooError(f"none of {len(done.cells)} cells came to an end", why, f"Their records are in {done.folder}")
        error.exit_code = failed[0].exit_code or UsageError.exit_code
        raise error
    table = done.folder / TABLE_FILE
    write_file(table, _write_table(done).encode(), what="the table of the matrix")
    done, runs = replace(done, table=table), [cell.run for cell in done.cells if cell.status == FINISHED and cell.run]
    if done.count(WAITING, RUNNING):
        return done
    page = done.folder / PAGE_FILE
    try:
        write_report(runs, page, base.places, overview=done.make_overview(), progress=False)
    except UsageError as error:  # jinja2 or matplotlib is not installed: the table says the same
        log.warning("no page: %s", error)
        return done
    return replace(done, page=page)


def _write_table(done: Matrix) -> str:
    metrics = list(dict.fromkeys(name for cell in done.cells for name in cell.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "dataset", "seed", "status", *metrics, "seconds", "run", "why"])
    for cell in done.cells:
        scores = ["" if (score := cell.metrics.get(name)) is None else score for name in metrics]
        run = "" if cell.run is None else cell.run.name
        seconds = "" if cell.seconds is None else cell.seconds
        writer.writerow([cell.model, cell.dataset, cell.seed, cell.status, *scores, seconds, run, cell.why])
    return text.getvalue()
