"""Completion: what a shell offers for a word that is being typed, from what is registered and lies in folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, get_args

import click

from zoo.cli.commands import LINES
from zoo.records.run_folder import STATUSES
from zoo.registry.manifest import TABLES
from zoo.registry.specs import Kind

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from zoo.registry.entries import Registry

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ZOO_COMPLETE"
"""In which the scripts ask for completions, as click names it."""
Offer = Callable[[click.Context, str], "list[CompletionItem[str]]"]
# Bash takes @, = and : for the ends of words, so that it would ask for completions of `fash` in `tinyvgg@fash`. Here
# words end at spaces, and of each answer bash gets what follows the last such sign; @ belongs to what follows.
BASH = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" cut="" words word sign type value response
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    [[ $word == --*=* ]] && word="${word#*=}"
    for sign in @ = :; do
        if [[ $COMP_WORDBREAKS == *"$sign"* && $word == *"$sign"* ]]; then
            value="${word%%"${word##*"$sign"}"}"
            [[ $sign == @ ]] && value="${value%%@}"
            (( ${#value} > ${#cut} )) && cut="$value"
        fi
    done
    response=$(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def make_script(shell: str) -> str:
    """Return the script for a shell: click's own, but for bash, which has references to weights in pieces."""
    from click.shell_completion import BashComplete, get_completion_class

    found = get_completion_class(shell) or BashComplete
    made = found(click.Command("zoo"), {}, "zoo", VARIABLE)
    return BASH % made.source_vars() if isinstance(made, BashComplete) else made.source()


def complete(cli: click.Command, instruction: str) -> int:
    """Answer the script of a shell, which gives the line in variables; return the exit code."""
    from click.shell_completion import shell_complete

    with suppress(Exception):  # a message would be printed into the line that is being typed
        return shell_complete(cli, {}, "zoo", VARIABLE, instruction)
    return 1


def offer(place: str, ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Return what a word may be that begins so; its place is a command and one of its params, `show name`."""
    find = OFFERS.get(place) or OFFERS.get(place.rpartition(" ")[2])
    return find(ctx, typed) if find else []


def _offer_words(*words: str) -> Offer:
    return lambda ctx, typed: _make_items(words, typed)


def _offer_entries(*kinds: Kind) -> Offer:
    """Return what offers names of entries, once one is begun also those of catalogues and bare ones of plugins."""

    def find(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
        registry = _discover(ctx)
        entries = [entry for kind in kinds for entry in registry.list_entries(kind, "*" if typed else "")]
        bare = [entry.name for kind in kinds if typed for entry in registry.list_entries(kind)]
        return _make_items([*(entry.short_name for entry in entries), *bare], typed)

    return find


def _offer_datasets(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Offer names of data sets, and files where a path is begun."""
    return _offer_files(ctx, typed) if typed.startswith((".", "~", "/")) else _offer_entries("dataset")(ctx, typed)


def _offer_plugins(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    return _make_items([plugin.name for plugin in _discover(ctx).plugins], typed)


def _offer_weights(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Offer references to weights, run folders and files."""
    from zoo.records.run_folder import WEIGHTS_FILE
    from zoo.storage.folders import runs_dir

    registered = _discover(ctx).list_entries("weights", "*")
    pairs = [f"{entry.spec.model}@{entry.spec.dataset}" for entry in registered]
    runs = []
    with suppress(OSError):
        folder = runs_dir(ctx.params.get("runs_dir"))
        runs = [str(run) for run in sorted(folder.iterdir(), reverse=True) if (run / WEIGHTS_FILE).is_file()]
    words = ["@last", "@best", *pairs, *(entry.short_name for entry in registered), *runs]
    return [*_offer_files(ctx, typed), *_make_items(words, typed)]


def _offer_runs(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Offer the names of runs, the newest first."""
    from zoo.records.run_index import list_runs
    from zoo.storage.folders import runs_dir

    return _make_items(
        ["@last", *(run.name for run in reversed(list_runs(runs_dir(ctx.params.get("runs_dir")))))], typed
    )


def _offer_things(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    return [*_offer_weights(ctx, typed), *_offer_entries(*get_args(Kind))(ctx, typed)]


def _offer_files(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Let the shell itself offer files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


def _offer_folders(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Let the shell itself offer folders."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="dir")]


def _make_items(words: Iterable[str], typed: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(typed)]


def _discover(ctx: click.Context) -> Registry:
    from zoo.registry.entries import Registry

    return Registry.discover(ctx.params.get("plugins") or (), ctx.params.get("disabled") or ())


OFFERS: dict[str, Offer] = {
    "dataset": _offer_datasets,
    **dict.fromkeys(("reference", "references", "init"), _offer_weights),
    **dict.fromkeys(("names", "add name"), _offer_entries("dataset")),
    **dict.fromkeys(("images", "paths", "output", "plugins", "config"), _offer_files),
    **dict.fromkeys(("data_dir", "runs_dir"), _offer_folders),
    **dict.fromkeys(("disabled", "plugins name", "test target"), _offer_plugins),
    "model": _offer_entries("model"),
    "metrics": _offer_entries("metric"),
    "recipe": _offer_entries("recipe"),
    "log": _offer_entries("logger"),
    "show name": _offer_things,
    "list kind": _offer_words(*TABLES),
    "plot kind": _offer_words("curves", "schedule", "confusion", "predictions", "wrong"),
    "help words": _offer_words(*LINES),
    **dict.fromkeys(("run", "runs"), _offer_runs),
    "status": _offer_words(*STATUSES),
    "split": _offer_words("train", "validation", "test"),
    "optimizer": _offer_words("sgd", "adam", "adamw"),
    "device": _offer_words("auto", "cpu", "cuda", "mps"),
}
"""What finds the words for a param of commands, by its name, or by its command and its name."""
