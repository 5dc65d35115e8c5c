"""`zoo runs`: the runs of a folder, what is known of one, another name for it, and what is not wanted any more."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Group
from zoo.cli.options import output_options, place_options
from zoo.cli.output import escape, measure_width, write_json, write_note, write_result, write_table
from zoo.errors import UsageError


@click.group("runs", cls=Group, invoke_without_command=True)
@click.option("--model", metavar="NAME", help="Only runs of this model: 'resnet*'.")
@click.option("--dataset", metavar="NAME", help="Only runs on this data set.")
@click.option(
    "--status", metavar="STATUS", help="Only finished ones; or running, interrupted, failed, diverged, killed."
)
@click.option("--where", multiple=True, metavar="TEST", help="Only runs of which this is true: 'lr<0.1'; repeatable.")
@click.option("--sort", default="-started", metavar="NAME", help="Sort by this, with - from high to low.  [-started]")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
@place_options("runs_dir")
@output_options
def runs_command(as_json: bool, **asked: Any) -> None:
    """List the runs of a folder, show one, rename, remove and clean.

    TEST compares a score, a setting or a path in run.json with a value: 'accuracy>0.85', 'lr<=0.1', seed=42,
    optimizer=adam, 'validation.loss<1', 'versions.torch=2.9.0'. NAME is a column or any of those.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from zoo.records.listing import runs
    from zoo.records.run_index import uncollected

    with uncollected():
        found = runs(**asked)
        if as_json:
            write_json(found.to_dict())
            return
        write_table(found.make_rows(measure_width(80)))
    if not found.runs:
        write_note(f"none of {found.total} runs matches" if found.total else f"no runs in {found.folder}")


def _refuse_options(context: click.Context) -> None:
    """Raise UsageError for options before the command that they are for, where nobody would read them."""
    for param in context.command.params:
        given = context.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
        if given and param.name is not None:
            where = f"{context.command_path} {context.invoked_subcommand}"
            raise UsageError(
                f"{param.opts[0]} stands before {context.invoked_subcommand}", fix=f"Options of {where} follow it"
            )


@runs_command.command("show")
@click.argument("run", metavar="RUN")
@place_options("runs_dir")
@output_options
def show_command(as_json: bool, **asked: Any) -> None:
    """Show one run: its status, scores and files, and the command that repeats it.

    RUN is its name, the beginning of it, its folder, or @last, the newest, whatever became of it. zoo show RUN tells of
    its weights.
    """
    from zoo.records.run_card import runs_show

    facts = runs_show(**asked)
    if as_json:
        write_json(facts.data)
        return
    write_result(escape(facts.title))
    write_table(facts.rows, indent="  ")


@runs_command.command("rename")
@click.argument("run", metavar="RUN")
@click.argument("name", metavar="NAME")
@place_options("runs_dir")
@output_options
def rename_command(as_json: bool, **asked: Any) -> None:
    """Give a run another name.

    Runs that started from its weights say so in their record, which is changed as well.
    """
    from zoo.records.run_names import runs_rename

    path = str(runs_rename(**asked))
    if as_json:
        write_json({"run": path})
    else:
        write_result(f"run: {escape(path)}")


@runs_command.command("remove")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Remove them; without it nothing is removed.")
@place_options("runs_dir")
@output_options
def remove_command(runs: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Remove runs with all that is in their folders.

    Without --yes it says what would go. A run that is still running stays, and of a link the link alone goes.
    """
    from zoo.records.removals import runs_remove

    _write_removals(runs_remove(runs, **asked), as_json=as_json, removed=True)


@runs_command.command("clean")
@click.option("--yes", is_flag=True, help="Remove it; without it nothing is removed.")
@place_options("runs_dir")
@output_options
def clean_command(yes: bool, as_json: bool, **asked: Any) -> None:
    """List what runs have left behind and nobody needs, and remove it with --yes.

    That is: files of killed processes that were never finished, a day old; runs that ended without weights and without
    a checkpoint; the checkpoints of finished runs.
    """
    from zoo.records.removals import runs_clean

    _write_removals(runs_clean(yes=yes, **asked), as_json=as_json, removed=yes)


def _write_removals(found: Any, *, as_json: bool, removed: bool) -> None:
    from zoo.storage.removal import show_size

    if as_json:
        write_json({"removed": removed, "found": [each.to_dict() for each in found]})
        return
    write_table([(show_size(each.size), each.what, str(each.path)) for each in found])
    if not found:
        write_note("nothing to clean")
        return
    total = show_size(sum(each.size for each in found))
    write_note(f"removed {total}" if removed else f"{total} in all; zoo runs clean --yes removes it")
