"""`zoo plugin new`: a plugin of one's own, written so that it works before anything in it is changed."""

from __future__ import annotations

import click

from zoo.commands.options import output_options
from zoo.commands.output import write_json, write_result
from zoo.specs import SPEC_CLASSES, Spec

KINDS = [kind for kind, spec_class in SPEC_CLASSES.items() if issubclass(spec_class, Spec)]


@click.group("plugin", no_args_is_help=False)
def plugin_command() -> None:
    """Start a plugin of your own."""


@plugin_command.command("new")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What it provides.")
@click.option("--single-file", is_flag=True, help="Write one file for --plugin, not a package.")
@click.option("--output", metavar="PATH", help="The folder or file to write.  [zoo-NAME, or NAME.py]")
@output_options
def new_command(name: str, kind: str, single_file: bool, output: str | None, as_json: bool, debug: bool) -> None:
    """Write a plugin that works as it is: a package to install, or one file.

    It provides one model, data set or metric called NAME that runs at once. Change it from there.
    """
    from zoo.templates import write_plugin

    written = write_plugin(name, kind, single_file=single_file, output=output)
    path = written.path.as_posix()
    if as_json:
        write_json({"path": path, "files": list(written.files), "next": list(written.commands)})
        return
    files = [] if single_file else [f"  {file}" for file in written.files]
    write_result("\n".join([f"wrote {path}", *files, "next", *(f"  {command}" for command in written.commands)]))
