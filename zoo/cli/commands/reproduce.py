"""`zoo reproduce`: a run repeated and graded."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.commands.run import write_epoch
from zoo.cli.ending import leaving
from zoo.cli.launch import spread
from zoo.cli.options import Discover
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.errors import UnexpectedScoreError


@click.command("reproduce", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.option("--init", metavar="WEIGHTS", help="Where the weights are that the training started from.")
@options.place_options()
@options.plugin_options
@options.output_options
@leaving
def reproduce_command(reference: str, discover: Discover, as_json: bool, **settings: Any) -> None:
    """Train again what weights come from, and grade the result.

    WEIGHTS is a run folder, a file, @last or the name of weights; the record beside them, or the file itself, says
    what was trained. BITWISE: the same tensors. SAME METRICS: other ones with the same scores. DRIFT: other scores,
    with exit code 11. What differs from the first training is named.
    """
    from zoo.registry.places import open_places
    from zoo.training.reproduction import DRIFT, find_processes, reproduce

    registry = discover()
    if spread(find_processes(reference, open_places(registry, runs_dir=settings["runs_dir"]))):
        return
    found = reproduce(reference, registry=registry, progress=True, on_epoch=write_epoch, **settings)
    if as_json:
        write_json(found.to_dict())
    else:
        write_result(found.grade)
        rows = [(name, _show(was), _show(now)) for name, (was, now) in found.metrics.items()]
        if rows:
            write_table([tuple(map(escape, row)) for row in [("score", "was", "is"), *rows]], numbers=True)
        write_result("\n".join(map(escape, found.changed or ("nothing is known that has changed",))))
        write_result(f"repeated in {escape(str(found.run))}")
    if found.grade == DRIFT:
        what = (
            "other scores came out" if found.metrics else "other weights came out, and no score is known of the first"
        )
        raise UnexpectedScoreError(what, "; ".join(found.changed), "See docs/guide/stopping.md")


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
