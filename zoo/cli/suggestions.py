"""Suggestions: the commands that one wants next after a run, ready to be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from zoo.registry.entries import Registry

MOST = 20
"""Models of a plugin from which on it is a catalogue, whose last one is not its best."""


def suggest_run(context: click.Context, run: click.Command, lr: float) -> str:
    """Return the `zoo run` with the options that a `zoo check` was given, those that both have, and a learning rate."""
    shared, words = {param.name for param in run.params} - {"lr", "as_json", "debug"}, ["zoo", "run"]
    for param in context.command.params:
        value = context.params.get(str(param.name))
        given = context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if param.name not in shared or not given:
            continue
        if isinstance(value, bool):
            words.append(param.opts[-1] if value else param.secondary_opts[-1])
        else:
            words += [word for text in _list_texts(value) for word in (param.opts[-1], text)]
    return shlex.join([*words, "--lr", f"{lr:g}"])


def _list_texts(value: Any) -> list[str]:
    """Return the texts that an option was given: of a table K=V each, of a table of tables NAME.K=V."""
    if isinstance(value, Mapping):
        found = []
        for key, part in value.items():
            inner = part.items() if isinstance(part, Mapping) else [("", part)]
            found += [f"{key}{'.' if name else ''}{name}={text}" for name, text in inner]
        return found
    return list(value) if isinstance(value, tuple) else [str(value)]


def suggest_next(runs: Path, registry: Registry, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return commands and what each is for; `runs` is the folder of the run's folder, `given` the options of the run.

    A better model is the last one that the plugin of this one provides: plugins list them from simple to good.
    """
    found = []
    if not (given["init"] or given["config"] or given["recipe"]):
        entry = registry.get("model", given["model"] or "baseline")
        models = registry.names_of(entry.plugin, "model")
        if len(models) <= MOST and models[-1] != entry.short_name:
            options = [("--plugin", path) for path in given["plugins"]]
            options += [("--model", models[-1]), ("--dataset", given["dataset"] or "shapes")]
            options += [("--dataset-param", f"{key}={value}") for key, value in given["dataset_params"].items()]
            words = ["zoo", "run", *(word for option in options for word in option)]
            found.append((shlex.join(words), "a better model"))
    where = [] if runs == Path("runs") else ["--runs-dir", str(runs)]
    picture = ["zoo", "plot", "@last", *where, "--kind", "confusion", "--output", "confusion.png"]
    found.append((shlex.join(picture), "a picture of what it takes for what"))
    folder = f"./{runs}" if str(runs).startswith("-") else str(runs)
    found.append((f"zoo compare {shlex.quote(folder)}/*", "is one better than another?"))
    return found
