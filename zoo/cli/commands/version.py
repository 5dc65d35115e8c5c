"""`zoo version`: the same as `zoo --version`."""

from __future__ import annotations

import click

from zoo.cli.command import Command
from zoo.cli.options import debug_option
from zoo.cli.output import write_result
from zoo.version import __version__


@click.command("version", cls=Command)
@debug_option
def version_command() -> None:
    """Show the version."""
    write_result(f"zoo {__version__}")
