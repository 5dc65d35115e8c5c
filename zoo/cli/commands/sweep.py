"""`zoo sweep`: search for the best settings of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.commands.run import make_shortener
from zoo.cli.ending import leaving
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.wording import to_options
from zoo.errors import UsageError
from zoo.records.run_folder import FINISHED, PRUNED

if TYPE_CHECKING:
    from zoo.studies.confirmation import Confirmation
    from zoo.studies.ranking import Sweep, SweepTrial


@click.command("sweep", cls=Command)
@click.option("--model", metavar="NAME", help="The model.  [baseline]")
@click.option("--dataset", metavar="NAME", help="The data set.  [shapes]")
@click.option("--init", metavar="WEIGHTS", help="Start from what fits of these weights.")
@click.option("--freeze", multiple=True, metavar="PATTERN", help="Do not train parameters of such names; repeatable.")
@options.source_options
@click.option(
    "--vary", multiple=True, required=True, metavar="NAME=VALUES", help="What is varied, with its values; repeatable."
)
@click.option("--trials", metavar="N", help="How many trials are drawn.  [20; of a grid all]")
@click.option("--sampler", metavar="NAME", help="grid, random or tpe.  [grid; random with a range or --trials]")
@click.option("--sampler-seed", metavar="N", help="Seed of what is drawn.  [0]")
@click.option("--prune", is_flag=True, help="With tpe: end trials early that are worse than half of those before.")
@click.option("--budget", metavar="TIME", help="Begin no trial after 90s, 10m or 1h.")
@click.option("--jobs", metavar="N", help="How many trials are trained at a time.  [1]")
@click.option("--confirm", metavar="N", help="Compare N more seeds of the best with those without --vary.")
@click.option("--output", metavar="DIR", help="The folder of the sweep.  [sweep-MODEL-DATASET in that of the runs]")
@options.metric_option
@options.study_setting_options
@options.param_options()
@options.place_options()
@options.plugin_options
@options.output_options
@leaving
def sweep_command(
    vary: tuple[str, ...], freeze: tuple[str, ...], discover: options.Discover, as_json: bool, **settings: Any
) -> None:
    """Search for the best settings of a training, on its validation split.

    Each --vary names one thing that is tried with several values: a setting of zoo run, model, param.NAME of the model,
    dataset_param.NAME, optimizer_param.NAME or loss_param.NAME. Its values are a list, lr=0.1,0.01, or a range:
    batch_size=8..64, lr=log:1e-4..1e-1 of logarithms, momentum=0..0.9:4 for four values of it.

    Only the validation split chooses, and only the best trial is scored on the test split. The same command goes on
    where it was stopped; on machines that share the folder it shares the work.
    """
    from zoo.studies.sweep import sweep

    show = make_shortener()
    for name in ("trials", "sampler_seed", "jobs", "confirm"):
        if settings[name] is not None:
            settings[name] = options.read_number(f"--{name.replace('_', '-')}", settings[name])
    given = {name: value for name, value in settings.items() if value is not None}
    varied = options.read_params("--vary", vary)
    if len(varied) < len(vary):
        raise UsageError("--vary names one thing twice", fix="Give all of its values at once, lr=0.1,0.01 say")
    found = sweep(
        vary=varied,
        freeze=None if not freeze else [] if freeze == ("none",) else freeze,
        registry=discover(),
        on_trial=_write_trial,
        **given,
    )
    if as_json:
        write_json(found.to_dict())
        return
    _write_sweep(found, show(found.folder))
    if found.picture is not None:
        write_result(f"picture: {escape(show(found.picture))}")
    if found.confirmation is not None:
        _write_confirmation(found.confirmation)
    elif settings["confirm"] and found.best is not None:
        write_result("no verdict yet: trials are being done elsewhere. The same command gives it when they are done")


def _write_trial(trial: SweepTrial) -> None:
    """Print what a trial came to."""
    from zoo.studies.space import describe_point

    score = f"validation score {trial.score:.4f}" if trial.score is not None else f"{trial.status}: {_tell_why(trial)}"
    seconds = "" if trial.seconds is None else f"  {trial.seconds:.2f} s"
    write_note(f"{trial.name}  {escape(describe_point(trial.point))}  {escape(score)}{seconds}")


def _tell_why(trial: SweepTrial) -> str:
    return to_options(trial.why)


def _write_sweep(found: Sweep, folder: str) -> None:
    rows = found.make_rows()
    write_table(rows)
    if (more := len(found.trials) - len(rows) + 1) > 0:
        write_result(f"and {more} more: zoo runs --runs-dir {escape(folder)}")
    failed = [trial for trial in found.trials if trial.status not in (FINISHED, PRUNED, "waiting")]
    for trial in failed[:3]:
        write_note(f"{trial.name} {trial.status}: {escape(_tell_why(trial))}")
    if len(failed) > 3:
        write_note(f"and {len(failed) - 3} more that did not finish")
    if found.left:
        write_result(f"{found.left} of {found.asked} trials are to be done: the same command goes on")
    if found.best is None:
        return
    scores = ", ".join(f"{escape(name)} {value:.4f}" for name, value in found.metrics.items() if name != "loss")
    write_result(f"best: {found.best.name}, on the test split {scores}, test loss {found.metrics['loss']:.4f}")
    if found.command is not None:
        write_result(f"again: {escape(found.command)}")


def _write_confirmation(found: Confirmation) -> None:
    write_table([(escape(name), described) for name, described in found.groups.items()], "  ")
    for line in found.verdict:
        write_result(f"  {escape(line)}")
