"""`zoo resume`: a run that was stopped or killed goes on."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.commands.run import make_shortener, show_result, write_epoch
from zoo.cli.ending import leaving
from zoo.cli.launch import spread
from zoo.cli.options import Discover
from zoo.cli.output import write_json


@click.command("resume", cls=Command)
@click.argument("run", metavar="RUN", default="@last")
@click.option("--epochs", metavar="N", help="Train for so many epochs in all.  [as many as were asked for]")
@click.option("--fork", is_flag=True, help="Start a new run from the state, also where something has changed.")
@click.option("--processes", metavar="N", help="Processes that go on with it together.  [as many as began it]")
@click.option("--log", multiple=True, metavar="NAME", help="A logger that is told of the run; repeatable.")
@options.param_options("logger")
@options.pace_options
@options.place_options()
@options.plugin_options
@options.output_options
@leaving
def resume_command(
    run: str,
    epochs: str | None,
    processes: str | None,
    log: tuple[str, ...],
    discover: Discover,
    as_json: bool,
    **settings: Any,
) -> None:
    """Go on with a run that was stopped or killed.

    RUN is the folder of a run, its name, or @last, the newest. It goes on from its newest checkpoint, in its
    folder, and comes to the weights and scores that it would have had.
    """
    from zoo.registry.places import open_places
    from zoo.registry.settings import resolve_config
    from zoo.training.resume import find_processes, resume

    show, registry = make_shortener(), discover()
    if spread(processes or find_processes(run, open_places(registry, runs_dir=settings["runs_dir"]))):
        return
    result = resume(
        run,
        epochs=None if epochs is None else resolve_config({}, {"epochs": epochs}).epochs,
        processes=resolve_config({}, {"processes": processes}).processes,
        log=log or None,
        registry=registry,
        progress=True,
        on_epoch=write_epoch,
        **settings,
    )
    if as_json:
        write_json(result.to_dict())
        return
    show_result(result, show)
