"""`zoo check`: look at a model on a data set before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.findings import list_estimates, write_findings
from zoo.cli.output import escape, write_json, write_result, write_table

if TYPE_CHECKING:
    from zoo.checks.combination.contract import Diagnosis


@click.command("check", cls=Command)
@click.option("--model", metavar="NAME", help="The model.  [baseline]")
@click.option("--dataset", metavar="NAME", help="The data set.  [shapes]")
@options.source_options
@options.metric_option
@click.option("--overfit", is_flag=True, help="Let it learn one batch by heart, too.")
@options.setting_options
@options.param_options()
@options.place_options("data_dir")
@click.option("-v", "--verbose", is_flag=True, help="Show what passed, too.")
@options.plugin_options
@options.output_options
def check_command(model: str | None, verbose: bool, discover: options.Discover, as_json: bool, **settings: Any) -> None:
    """Look at a model on a data set before training.

    It is built, and a few real batches go through it: logits, gradients, activations on the logits, the loss at the
    start, memory and time. Nothing is fetched; where the data are not here, random inputs take their place. Time is
    measured on one CPU thread unless --threads says otherwise. What is wrong is explained; see docs/guide/checks.md.
    """
    options.prepare_for_torch()
    from zoo.checks.combination.contract import check

    registry = discover()
    given = {name: value for name, value in settings.items() if value is not None}
    diagnosis = check(model, registry=registry, **given)
    if as_json:
        write_json(diagnosis.to_dict())
    else:
        _write_diagnosis(diagnosis, verbose)
    if not diagnosis.passed:
        failed = [found.check for found in diagnosis.findings if found.status == "failed"]
        plugin = registry.get("model", f"{diagnosis.plugin}/{diagnosis.model}").plugin
        what = f"model {diagnosis.model!r} on dataset {diagnosis.dataset!r} is not fit to be trained"
        raise plugin.broken(what, f"failed: {', '.join(failed)}")


def _write_diagnosis(diagnosis: Diagnosis, verbose: bool) -> None:
    write_result(f"{escape(diagnosis.model)} on {escape(diagnosis.dataset)}: {escape(diagnosis.data)}")
    write_findings("checks", diagnosis.findings, verbose)
    numbers = diagnosis.estimates
    if numbers:
        write_table(list_estimates(numbers), indent="  ")
