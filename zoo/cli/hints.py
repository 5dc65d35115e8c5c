"""Hints: what to type instead of what zoo does not understand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise, takewhile
from pathlib import Path

import click

from zoo.cli.command import list_option_names, name_command
from zoo.cli.commands import COMMANDS, EXAMPLES
from zoo.cli.words import OPTIONS, SUBCOMMANDS, WORDS
from zoo.errors import DataError, UnknownNameError, WeightsError, ZooError, closest, quote
from zoo.records.weights_facts import is_reference
from zoo.registry.params import ALIASES
from zoo.registry.settings import list_settings

OWN_DATA = (
    "Pictures of your own are given by the path of their folder, ./photos say; other data take a plugin of a few "
    "lines: zoo plugin new NAME --kind dataset"
)
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
SEVERAL = ("compare", "report", "plot")
"""Commands that take the weights of several runs."""
SPLITS = ("train", "validation", "test")
PLUGIN_FILES = (".py", ".toml")
NUMBER = re.compile(r"\d*\.?\d+")


def advise_command(word: str, group: str, known: Sequence[str], others: Sequence[str]) -> str:
    """Return what to type instead of a command that zoo, or its group of this name, does not have."""
    if group:
        told = _look_up(
            word, {f"Did you mean {quote(text)}?": words for text, words in SUBCOMMANDS.get(group, {}).items()}
        )
        near = closest(word, known) or (f"show {word}" if group == "runs" else None)
        return told or (f"Did you mean {quote(f'zoo {group} {near}')}?" if near else f"See: zoo {group} --help")
    if told := _look_up(word, WORDS):
        return told
    if is_weights(word):
        return f"Did you mean {quote(f'zoo show {word}')}?"
    if spelled := spell_words([word], list_option_names(find_command("run"))):
        return f"Did you mean {quote(shlex.join(['zoo', 'run', *spelled, *others]))}?"
    if near := closest(word, known):
        return f"Did you mean {quote(near)}?"
    return "See: zoo -h"


def advise_option(name: str, ctx: click.Context, arguments: Sequence[str]) -> str:
    """Return what to type instead of an option that a command does not have."""
    own, where = list_option_names(ctx.command), name_command(ctx)
    for word in (_clean(find_option(name, arguments)), _clean(name)):
        if f"--{word}" in own:
            return f"Did you mean {quote(f'--{word}')}?"
        meant = _look_up(word, OPTIONS) or f"--{ALIASES.get(word.replace('-', '_'), word)}".replace("_", "-")
        if meant in own:
            return f"Did you mean {quote(meant)}?"
        if " " in meant:
            return meant
        homes = [other for other in COMMANDS if other != where and meant in list_option_names(find_command(other))]
        if homes and not where:
            return f"Options follow their command: {_move_options(arguments, homes)}"
        if near := closest(word, [option.removeprefix("--") for option in own]):
            return f"Did you mean {quote(f'--{near}')}?"
        if homes:
            return f"{meant} is an option of {', '.join(f'zoo {home}' for home in homes[:3])}"
    return f"See: {ctx.command_path} --help"


def find_option(name: str, arguments: Sequence[str]) -> str:
    """Return an unknown option as it was typed: of `-epochs` click sees `-e` alone."""
    if name.startswith("--"):
        return name
    return next((typed.partition("=")[0] for typed in arguments if typed.startswith(name)), name)


def _move_options(arguments: Sequence[str], homes: Sequence[str]) -> str:
    """Return a line whose command, by default the first that has such an option, stands before its options."""
    command = next((word for word in arguments if word in COMMANDS), homes[0])
    return shlex.join(["zoo", command, *(word for word in arguments if word != command)])


def _clean(option: str) -> str:
    return option.lstrip("-").lower().replace("_", "-")


def _look_up(word: str, table: dict[str, str]) -> str | None:
    return next((text for text, words in table.items() if word.lower() in words.split()), None)


def find_command(name: str) -> click.Command:
    """Import a command by its name."""
    from importlib import import_module

    module, _, attribute = COMMANDS[name].partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def find_context(group: click.Command, arguments: Sequence[str]) -> click.Context:
    """Return the context of the command that a line begins with, for an error of click that does not name it."""
    ctx = click.Context(group, info_name="zoo")
    for word in arguments:
        found = ctx.command.get_command(ctx, word) if isinstance(ctx.command, click.Group) else None
        if found is None:
            break
        ctx = click.Context(found, parent=ctx, info_name=word)
    return ctx


def advise_call(error: click.ClickException, ctx: click.Context, arguments: Sequence[str]) -> str:
    """Return how a command is called that was called without something, or with too much."""
    command, where = ctx.command, name_command(ctx)
    own = list_option_names(command)
    rest = list(arguments[len(where.split()) :])
    if extra := re.findall(r"unexpected extra arguments? \((.*)\)", error.format_message()):
        words = extra[0].split()
        if "help" in words:
            return f"Did you mean {quote(f'{ctx.command_path} --help')}?"
        valued = [f"--{param.opts[-1][2:]}" for param in command.params if not getattr(param, "is_flag", True)]
        if lacking := next((first for first, second in pairwise(rest) if first in valued and second in own), None):
            return f"{lacking} has no value"
        if joined := _join_numbers(rest, valued):
            return f"Numbers of one option have commas between them: {joined}"
        if where == "plugins":
            return f"Did you mean {quote(shlex.join(['zoo', 'plugin', *rest]))}?"
        if all(word.endswith(".tar") for word in words):  # the shell has spelt out a pattern
            pattern = shlex.quote(str(Path(words[0]).parent / "*.tar"))
            return f"Put the pattern into quotes: --dataset {pattern}"
        if len(folders := [word for word in words if _is_folder(word)]) == 1 and "--dataset" in own:
            path = folders[0] if folders[0].startswith((".", "/", "~")) else f"./{folders[0]}"
            others = [word for word in rest if word not in folders]
            return f"Did you mean {quote(shlex.join(['zoo', where, '--dataset', path, *others]))}?"
        if spelled := spell_words(words, own):
            others = [word for word in rest if word not in words]
            return f"Did you mean {quote(shlex.join(['zoo', where, *spelled, *others]))}?"
    given = [word for word in rest if not word.startswith("-")]
    if isinstance(error, click.MissingParameter) and where == "predict" and given and not is_weights(given[0]):
        return f"The weights come first: zoo predict @last {shlex.quote(given[0])}"
    lacks = extra or isinstance(error, click.MissingParameter) or isinstance(command, click.Group)
    example = f"As in: {EXAMPLES[where]}. " if where in EXAMPLES and lacks else ""
    return f"{example}See: {ctx.command_path} --help"


def _join_numbers(words: Sequence[str], options: Sequence[str]) -> str:
    """Return an option that is followed by several numbers with commas between them, nothing where none is."""
    for place, word in enumerate(words):
        numbers = [*takewhile(NUMBER.fullmatch, words[place + 1 :])] if word in options else []
        if len(numbers) > 1:
            return f"{word} {','.join(numbers)}"
    return ""


def spell_words(words: Iterable[str], options: Sequence[str]) -> list[str]:
    """Return bare words with the options in front that they lack; nothing where one of them means nothing here."""
    from zoo.registry.entries import Registry

    spelled = list[str]()
    try:
        registry = Registry.discover()
    except ZooError:  # a plugin of the environment does not work: the next command that can be understood says so
        return []
    for word in words:
        name, equals, value = word.partition("=")
        option = f"--{_clean(name)}"
        if equals:
            found = [(option, value)] if _clean(name).replace("-", "_") in list_settings() else [("--param", word)]
        elif word.endswith(PLUGIN_FILES):
            found = [("--plugin", word)]
        elif word in SPLITS and "--split" in options:
            found = [("--split", word)]
        elif is_weights(word):
            found = [("--init", word)]
        else:
            found = [(f"--{kind}", word) for kind in registry.find_kinds(word) if kind != "weights"]
        if not found or found[0][0] not in options:
            return []
        spelled += found[0]
    return spelled


def is_weights(word: str) -> bool:
    """Tell whether a word has the form of a reference to weights."""
    return is_reference(word) and not word.lower().endswith((*IMAGES, *PLUGIN_FILES))


def explain(error: ZooError, arguments: Sequence[str]) -> None:
    """Add to errors what a person at a command line needs who gave one kind of thing for another."""
    command = arguments[0] if arguments else ""
    for problem in error.problems:
        if isinstance(problem, UnknownNameError):
            if told := _advise_kind(problem, command):
                problem.fix = " ".join([told, *problem.notes])
            elif more := _advise_more(problem, arguments):
                kept = " ".join(problem.notes) if problem.fix.startswith("See: ") else problem.fix
                problem.fix = f"{kept}{'' if not kept or kept.endswith(('.', '?')) else '.'} {more}".strip()
        elif isinstance(problem, WeightsError) and command in SEVERAL and problem.why.startswith("it is a folder of"):
            folder = next((word for word in arguments[1:] if _is_folder(word)), "runs")
            problem.fix = f"All of them are {folder.rstrip('/')}/*"
        elif isinstance(problem, WeightsError | DataError) and command == "predict":
            images = [word for word in arguments[1:] if word.lower().endswith(IMAGES)]
            later = [word for word in arguments[2:] if is_weights(word)]
            if later and images and arguments[1] == images[0]:
                problem.fix = f"The weights come first: {shlex.join(['zoo', 'predict', later[0], *images])}"


def _advise_kind(error: UnknownNameError, command: str) -> str:
    """Return what to say to whoever gave something else than a name."""
    kind, name = error.kind, error.name
    if not name:
        return "The name is empty: is a variable of the shell not set?"
    if "://" in name:
        return "zoo opens no address: download what is there and give the file"
    if name.endswith(PLUGIN_FILES):
        return f"A plugin file is given with --plugin {name}; zoo list --plugin {name} shows the names in it"
    if kind in ("model", "dataset", "metric") and is_weights(name):
        start = f"; to start from them: zoo run --init {name}" if command == "run" else ""
        return f"{name} means weights: zoo show {name}{start}"
    if kind in ("dataset", "entry") and _is_folder(name):
        if kind == "entry":
            return f"To count the pictures of a folder: zoo show {shlex.quote(name)} --counts"
        if not Path(name).expanduser().is_dir():
            return "Nor is there such a folder"
        if command == "data":
            return "A folder of your own is used where it is: zoo keeps no files of it"
        return f"Did you mean {quote(f'./{name}')}, the folder?"
    if kind == "entry":
        return _look_up(name, WORDS) or ""
    if kind == "plugin" and name in ("new", "test"):
        return f"Did you mean {quote(f'zoo plugin {name}')}?"
    if kind != "kind":
        return ""
    near = closest(name, error.known)
    return f"Did you mean {quote(f'zoo list {near}' if near else f'zoo list --search {name}')}?"


def _advise_more(error: UnknownNameError, arguments: Sequence[str]) -> str:
    """Return what to say beside the name that may have been meant."""
    if error.elsewhere:
        missing = error.kind == "weights" and error.fix.endswith("registered")
        return f"Train some: zoo run --{error.elsewhere[0]} {error.name}" if missing else ""
    if error.kind == "metric":
        return "One of your own takes a plugin of a few lines: zoo plugin new NAME --kind metric"
    if error.kind == "model":
        return "Those of plugins: zoo list models --search PATTERN" if error.fix.startswith("See: ") else ""
    # The data set of a reference such as tinyvgg@mnist is none to be trained on.
    typed = error.name in arguments or f"--dataset={error.name}" in arguments
    return OWN_DATA if error.kind == "dataset" and typed else ""


def _is_folder(name: str) -> bool:
    with suppress(OSError, RuntimeError, ValueError):
        return name.startswith((".", "/", "~")) or name.endswith("/") or Path(name).expanduser().is_dir()
    return False
