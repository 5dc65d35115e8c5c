"""Suggestions: the commands that one wants next after a run, ready to be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.registry.entries import Registry

MOST = 20
"""Models of a plugin from which on it is a catalogue, whose last one is not its best."""


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
    found.append((f"zoo compare {shlex.quote(str(runs))}/*", "is one better than another?"))
    return found
