"""`zoo report`: one page about weights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, dataset_option, output_options, place_options, plugin_options
from zoo.cli.output import escape, write_json, write_result
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import SettingError


@click.command("report", cls=Command)
@click.argument("references", nargs=-1, required=True, metavar="WEIGHTS...")
@dataset_option
@click.option("--output", metavar="FILE", help="The .html file to write.  [report.html]")
@place_options()
@plugin_options
@output_options
def report_command(
    references: tuple[str, ...],
    dataset: tuple[str, ...],
    output: str | None,
    discover: Discover,
    as_json: bool,
    **places: Any,
) -> None:
    """Write one page about weights, to read and to send.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. The page needs no network and
    no other file: verdict, comparison, curves, confusion matrices, samples, settings and how to repeat each run.

    Each data set has a part of its own. Paths that cannot take part (runs without weights, other files) are left out
    and named on the page and on stderr.
    """
    if output is not None and not output.lower().endswith((".html", ".htm")):
        raise SettingError("--output", "expected the name of an .html file", output)
    prepare_for_torch()
    from zoo.registry.places import open_places
    from zoo.results.report.page import write_report

    found = open_places(discover(), **places)
    written = write_report(references, output, found, datasets=dataset, progress=True)
    path = str(written.output)
    if as_json:
        write_json({"output": path, "left_out": [asdict(each) for each in written.comparison.left_out]})
    else:
        write_result(f"report: {escape(path)}")
