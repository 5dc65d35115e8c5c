"""The command line: commands imported when called, errors as one line each, exit codes by class of error."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from zoo.cli.command import Group
from zoo.cli.commands import COMMANDS, GROUPS
from zoo.cli.ending import BROKEN_PIPE, end, report, terminate
from zoo.cli.launch import ending_once, refuse_ranks, watch_parent
from zoo.cli.output import (
    drop_stream,
    end_status,
    escape,
    has_colors,
    is_terminal,
    measure_width,
    set_silent,
    show_status,
    take_stdout,
    write_note,
    write_result,
)
from zoo.errors import UsageError, ZooError, quote
from zoo.storage.folders import check_current_folder
from zoo.version import __version__

LIGHT = ("list", "plugins", "show", "help", "version", "completion")
"""Commands that import no torch, `show` without options that load something."""
SHORT = (*LIGHT, "runs")
"""Commands that end within a second: to look for garbage takes a tenth of it, and there is none."""
LEAST_WIDTH, HELP_WIDTH = 30, 100
"""Columns of a help page, on terminals of any width."""


class LazyGroup(Group):
    """A group whose commands are imported when called; its help comes from the table alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table, by what the commands are for."""
        wide = max(map(len, COMMANDS))
        for title, lines in GROUPS.items():
            with formatter.section(title):
                # All groups have the columns of the widest one.
                formatter.write_dl([(name.ljust(wide), line) for name, line in lines.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Keep Ctrl-C from click while it reads the command line; see `invoke`."""
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as error:
            raise _Ended from error

    def invoke(self, ctx: click.Context) -> Any:
        """Keep what ends a command from click, which has lines and exit codes of its own for Ctrl-C, pipes and more."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, ZooError):
            raise
        except BaseException as error:
            raise _Ended from error


class _Ended(Exception):
    """Carries its cause past click."""


def _write_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        write_result(f"zoo {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog="Start with: zoo run")
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_write_version,
    help="Show the version.",
)
def cli() -> None:
    """Any registered model, data set and metric, one command, plain PyTorch."""


def entry() -> NoReturn:
    """Run the command line as a program and end the process."""
    if sys.argv[1:2] and sys.argv[1] in SHORT:
        gc.disable()
    take_stdout()
    code = main()
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with suppress(ValueError, AttributeError):  # raised by a stream that is closed, and where there is none
            try:
                stream.flush()  # type: ignore[union-attr]
            except OSError:
                drop_stream(stream)  # type: ignore[arg-type]
    if "torch" not in sys.modules:
        # Without torch no thread or worker is left to end. Taking the interpreter down would cost a good part of the
        # time of a listing.
        os._exit(code)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # all is said and done: what comes now ends the process without a word
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # With torch the interpreter takes itself down, but need not look for garbage among all that was imported first,
    # which takes as long as an epoch of a small model.
    gc.freeze()
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for number in filter(None, (signal.SIGTERM, getattr(signal, "SIGHUP", None))):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP for the programs that it starts
            signal.signal(number, terminate)
    try:
        set_silent(_is_follower())
        watch_parent()
        _listen()
        if not _is_light(arguments):
            check_current_folder()
            refuse_ranks(arguments[0])
        width = max(LEAST_WIDTH, min(HELP_WIDTH, measure_width(80)) - 2)
        form: dict[str, Any] = {"terminal_width": width, "color": has_colors(sys.stdout)}
        if instruction := os.environ.get("_ZOO_COMPLETE"):  # set by the script of a shell, see zoo.cli.completion
            from zoo.cli.completion import complete

            return complete(cli, instruction)
        with ending_once():
            cli.main(list(arguments), prog_name="zoo", standalone_mode=False, obj=arguments, **form)
        return 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True, color=has_colors(sys.stderr))
        return UsageError.exit_code
    except click.ClickException as error:
        return report(_translate(error, arguments), arguments)
    except ZooError as error:
        return report(error, arguments)
    except SystemExit:  # click ends so when the pipe breaks while it prints a help page; a command's own is _Ended
        return BROKEN_PIPE
    except BaseException as error:  # noqa: BLE001 the one place where a bug of ours becomes a message
        carried = isinstance(error, _Ended | click.exceptions.Abort) and error.__cause__
        return end(carried or error, arguments)
    finally:
        end_status()


def _is_follower() -> bool:
    """Tell whether another rank prints what this one would."""
    from zoo.data.ranks import find_ranks

    return not find_ranks().is_first


def _is_light(arguments: Sequence[str]) -> bool:
    """Tell whether a command line imports no torch and reads nothing by a relative path of its own."""
    asked = set(arguments)
    helps = not asked or asked & {"-h", "--help", "-V", "--version"}
    return bool(helps) or (arguments[0] in LIGHT and not asked & {"--layers", "--counts"})


def _listen() -> None:
    """Show what the library logs: plain lines, and warnings as such."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = escape(record.getMessage())
            if record.levelno >= logging.WARNING:
                write_note(f"Warning: {text}", color="yellow")
            elif record.levelno >= logging.INFO:
                write_note(text)
            else:
                show_status(f"{text} ...")

    log = logging.getLogger("zoo")
    log.handlers = [Handler()]
    # Below INFO the library says what it is at, for whoever waits before a terminal.
    log.setLevel(logging.DEBUG if is_terminal(sys.stderr) else logging.INFO)
    log.propagate = False


def _translate(error: click.ClickException, arguments: Sequence[str]) -> UsageError:
    """Say in our words what click says about a wrong command line, and what to type instead."""
    from zoo.cli.hints import advise_call, advise_option, find_context, find_option

    ctx = getattr(error, "ctx", None) or find_context(cli, arguments)
    if isinstance(error, click.NoSuchOption):
        advice = advise_option(error.option_name, ctx, arguments)
        typed = find_option(error.option_name, arguments)
        return UsageError(f"{ctx.command_path} has no option {quote(typed)}", fix=advice)
    return UsageError(error.format_message().rstrip("."), fix=advise_call(error, ctx, arguments))
