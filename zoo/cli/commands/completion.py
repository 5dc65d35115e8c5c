"""`zoo completion`: the script that lets a shell complete command lines of zoo."""

from __future__ import annotations

import click

from zoo.cli.command import Command
from zoo.cli.completion import SHELLS, make_script
from zoo.cli.options import debug_option
from zoo.cli.output import write_result


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@debug_option
def completion_command(shell: str) -> None:
    """Print a script that lets a shell complete what is typed.

    Put it where the shell reads it when it starts. In ~/.bashrc: eval "$(zoo completion bash)"; in ~/.zshrc: eval
    "$(zoo completion zsh)"; for fish: zoo completion fish > ~/.config/fish/completions/zoo.fish
    """
    write_result(make_script(shell).rstrip("\n"))
