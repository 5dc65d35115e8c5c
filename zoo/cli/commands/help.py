"""`zoo help`: the same as `zoo --help`, and `zoo help COMMAND` as `zoo COMMAND --help`."""

from __future__ import annotations

import click

from zoo.cli.command import Command
from zoo.errors import UsageError


@click.command("help", cls=Command)
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show this page, or the help of a command."""
    asked = ctx.find_root()
    for word in words:
        command = asked.command
        if not isinstance(command, click.Group):
            raise UsageError(f"{asked.command_path} has no commands", fix=f"See: {asked.command_path} --help")
        name, found, _ = command.resolve_command(asked, [word])
        if found is not None:
            asked = found.make_context(name, [], parent=asked, resilient_parsing=True)
    click.echo(asked.get_help(), color=ctx.color)
