"""`zoo matrix`: every model on every data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.commands.run import make_shortener
from zoo.cli.ending import leaving
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.records.run_folder import FINISHED

if TYPE_CHECKING:
    from zoo.studies.cells import Matrix, MatrixCell


@click.command("matrix", cls=Command)
@click.option("--models", metavar="A,B", help="The models, with commas between them.")
@click.option("--datasets", metavar="X,Y", help="The data sets, likewise; also paths.")
@click.option("--seeds", metavar="N", help="Train each so many times, each with the next seed.  [1]")
@click.option("--recipe", metavar="NAME", help="Follow its settings and metrics: zoo list recipes.")
@click.option(
    "--study",
    metavar="FILE",
    help="A TOML file that says all of it: docs/guide/scale.md.",
)
@options.metric_option
@click.option("--param", "params", multiple=True, metavar="MODEL.K=V", help="A param of one of the models; repeatable.")
@click.option(
    "--dataset-param", "dataset_params", multiple=True, metavar="DATASET.K=V", help="A param of one of the data sets."
)
@click.option("--jobs", metavar="N", help="How many are trained at a time.  [1]")
@click.option("--part", metavar="I/N", help="Do one part of N only.  [that of the task of a SLURM array, or all]")
@click.option("--dry-run", is_flag=True, help="List what would be trained, and how long it would take.")
@click.option("--output", metavar="DIR", help="The folder of the matrix.  [matrix in that of the runs]")
@options.study_setting_options
@options.place_options()
@options.plugin_options
@options.output_options
@leaving
def matrix_command(
    models: str | None,
    datasets: str | None,
    jobs: str | None,
    params: tuple[str, ...],
    dataset_params: tuple[str, ...],
    discover: options.Discover,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train every model on every data set, and write one table and one page about all of it.

    A pair that does not fit together is told, and the others are trained. The same command goes on where it was
    stopped: what is finished is not trained again, and there may be more models, data sets and seeds than before. Where
    cells failed, it ends with the exit code of the first.
    """
    from zoo.studies.matrix import matrix
    from zoo.training.seeds import read_count

    show = make_shortener()
    seeds = settings.pop("seeds")
    given = {name: value for name, value in settings.items() if value is not None}
    found = matrix(
        _split(models),
        _split(datasets),
        seeds=None if seeds is None else read_count(seeds),
        params=options.read_params_by_name("--param", params) or None,
        dataset_params=options.read_params_by_name("--dataset-param", dataset_params) or None,
        jobs=1 if jobs is None else options.read_number("--jobs", jobs),
        registry=discover(),
        on_cell=_write_cell,
        **given,
    )
    if as_json:
        write_json(found.to_dict())
    elif settings["dry_run"]:
        _write_plan(found)
    else:
        _write_matrix(found, show)
    if not settings["dry_run"] and (failure := found.find_failure()) is not None:
        raise failure


def _split(text: str | None) -> list[str]:
    return [name for part in (text or "").split(",") if (name := part.strip())]


def _write_cell(cell: MatrixCell) -> None:
    score = ", ".join(
        f"{name} {value:.4f}" for name, value in cell.metrics.items() if name != "loss" and value is not None
    )
    told = score or f"{cell.status}: {cell.why}"
    seconds = "" if cell.seconds is None else f"  {cell.seconds:.2f} s"
    write_note(f"{escape(cell.model)} on {escape(cell.dataset)}, seed {cell.seed}: {escape(told)}{seconds}")


def _write_matrix(found: Matrix, show: Callable[[Path], str]) -> None:
    write_table(found.make_rows())
    for line in found.list_reasons():
        write_result(escape(line))
    number, parts = found.part
    if left := found.count("waiting", "running"):
        part = f"; this was part {number} of {parts}" if parts > 1 else ""
        write_result(f"{left} of {len(found.cells)} are not done yet{part}: the page is written when all are")
    if found.table is not None:
        write_result(f"table: {escape(show(found.table))}")
    if found.page is not None:
        write_result(f"report: {escape(show(found.page))}")


def _write_plan(found: Matrix) -> None:
    """Print what would be trained, a line for each pair, and how long that takes."""
    from zoo.results.conclusions import format_seconds

    rows, total, unknown = [["model", "data set", "runs", "each"]], 0.0, False
    for model, dataset in dict.fromkeys((cell.model, cell.dataset) for cell in found.cells):
        cells = [cell for cell in found.cells if (cell.model, cell.dataset) == (model, dataset)]
        todo = [cell for cell in cells if cell.status not in (FINISHED, "unfit")]
        seconds = todo[0].seconds if todo else None
        each = "-" if seconds is None else f"about {format_seconds(seconds)}"
        rows.append([model, dataset, str(len(todo)), each])
        total += len(todo) * (seconds or 0.0)
        unknown |= bool(todo) and seconds is None
    write_table(rows)
    for line in found.list_reasons():
        write_result(escape(line))
    more = ", and those whose data are not here" if unknown else ""
    write_result(f"about {format_seconds(total)} one after the other{more}; without what starting takes")
