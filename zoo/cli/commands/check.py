"""`zoo check`: look at a model on a data set before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.commands.run import run_command
from zoo.cli.findings import list_estimates, write_findings
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.suggestions import suggest_run
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.checks.combination.contract import Diagnosis
    from zoo.checks.combination.tuning import Tuning


@click.command("check", cls=Command)
@click.option("--model", metavar="NAME", help="The model.  [baseline]")
@click.option("--dataset", metavar="NAME", help="The data set.  [shapes]")
@options.source_options
@options.metric_option
@click.option("--overfit", is_flag=True, help="Let it learn one batch by heart, too.")
@click.option("--tune", is_flag=True, help="Find a learning rate and the largest batch, too.")
@click.option("--output", metavar="FILE", help="Draw the losses of --tune, as PNG, SVG or PDF.")
@options.setting_options
@options.param_options()
@options.place_options("data_dir")
@click.option("-v", "--verbose", is_flag=True, help="Show what passed, too.")
@options.plugin_options
@options.output_options
def check_command(
    model: str | None, output: str | None, verbose: bool, discover: options.Discover, as_json: bool, **settings: Any
) -> None:
    """Look at a model on a data set before training.

    It is built, and a few real batches go through it: logits, gradients, activations on the logits, the loss at the
    start, memory and time. Nothing is fetched; where the data are not here, random inputs take their place. Time is
    measured on one CPU thread unless --threads says otherwise. What is wrong is explained; see docs/guide/checks.md.
    """
    prepare_for_torch()
    from zoo.checks.combination.contract import check

    if output is not None:
        from zoo.results.plots.style import find_format

        if not settings["tune"]:
            raise UsageError("--output draws what --tune finds", fix="Give --tune, too")
        find_format(output)
    registry = discover()
    given = {name: value for name, value in settings.items() if value is not None}
    diagnosis = check(model, registry=registry, **given)
    if as_json:
        write_json(diagnosis.to_dict())
    else:
        _write_diagnosis(diagnosis, verbose)
    if diagnosis.tuning is not None:
        _tell_tuning(diagnosis, diagnosis.tuning, output, as_json=as_json)
    if not diagnosis.passed:
        failed = [found.check for found in diagnosis.findings if found.status == "failed"]
        plugin = registry.get("model", f"{diagnosis.plugin}/{diagnosis.model}").plugin
        what = f"model {diagnosis.model!r} on dataset {diagnosis.dataset!r} is not fit to be trained"
        raise plugin.broken(what, f"failed: {', '.join(failed)}")


def _tell_tuning(diagnosis: Diagnosis, tuning: Tuning, output: str | None, *, as_json: bool) -> None:
    if output is not None:
        from zoo.results.plots.style import save_figure
        from zoo.results.plots.tuning import plot_range

        title = f"{diagnosis.model} on {diagnosis.dataset}"
        save_figure(plot_range(title, tuning.rates, tuning.losses, tuning.lr), output)
        write_note(f"picture: {escape(output)}")
    if as_json:
        return
    lowest, count = min(tuning.losses), len(tuning.rates)
    fell = f"loss {tuning.losses[0]:.3f} to {lowest:.3f} at a rate of {tuning.lowest:.1g}"
    found = f"no rate of {count} let the loss fall" if tuning.lr is None else f"{tuning.lr:g} ({fell})"
    batch = f"at most {tuning.batch_size:,} ({tuning.batch_size_by})"
    write_table([("learning rate", found), ("batch size", batch)], indent="  ")
    if tuning.lr is not None:
        words = suggest_run(click.get_current_context(), run_command, tuning.lr)
        write_note(f"next: {escape(words)}  # train with that rate")


def _write_diagnosis(diagnosis: Diagnosis, verbose: bool) -> None:
    write_result(f"{escape(diagnosis.model)} on {escape(diagnosis.dataset)}: {escape(diagnosis.data)}")
    write_findings("checks", diagnosis.findings, verbose)
    numbers = diagnosis.estimates
    if numbers:
        write_table(list_estimates(numbers), indent="  ")
