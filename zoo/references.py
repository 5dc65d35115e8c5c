"""References to weights: a path, a run folder, `@last`, `@best`, `MODEL@DATASET`, or the name of a registered entry."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo import storage
from zoo.errors import UnknownNameError, WeightsError, ZooError, describe, quote
from zoo.registry import Entry, Registry
from zoo.specs import FileSpec, WeightsSpec

FILE_NAME = "weights.safetensors"
RECORD = "run.json"
REFERENCE = re.compile(r"[\w.-]*(/[\w.-]+)?(@[\w.-]*(/[\w.-]+)?)?", re.ASCII)


def find_weights(
    reference: str | os.PathLike[str], *, registry: Registry, runs_dir: Path | None = None, offline: bool = False
) -> Path:
    """Return the weights file that a reference means; registered weights that lie elsewhere are fetched.

    A path that exists wins. `MODEL`, `DATASET` and the name of an entry may be `plugin/name`.

    Raises:
        WeightsError: there is no such file or run.
        UnknownNameError, AmbiguousNameError: no registered weights of that name, or several.
        PluginError, DownloadError: registered weights cannot be had.
    """
    text = os.fspath(reference)
    path = Path(text)
    # Too long a name, or the home of a user who does not exist, is no file either.
    with suppress(OSError, RuntimeError, ValueError):
        path = path.expanduser()
        found = path / FILE_NAME if path.is_dir() else path
        if found.is_file():
            return found
    missing = WeightsError(f"no weights at {quote(path)}", "no such file", "Give a .safetensors file or a run folder")
    if (
        not isinstance(reference, str)
        or not REFERENCE.fullmatch(text)
        or path.is_dir()
        or text.endswith(".safetensors")
    ):
        raise missing
    runs_dir = runs_dir or storage.runs_dir()
    if text == "@last":
        return _find_last(runs_dir)
    if text == "@best":
        return _find_best(runs_dir, registry)
    model, at, dataset = text.rpartition("@")
    if at and model and dataset:
        return _find_pair(model, dataset, registry, runs_dir, offline=offline)
    if at:
        raise WeightsError(f"no weights are called {quote(text)}", fix="Give @last, @best or MODEL@DATASET")
    try:
        return resolve_file(registry.get("weights", text), offline=offline)
    except UnknownNameError:
        if "/" in text:  # as likely a path
            raise missing from None
        raise


def resolve_file(entry: Entry[WeightsSpec], *, offline: bool) -> Path:
    """Return the file of registered weights, fetched and verified where the entry has an address.

    Raises:
        PluginError: the file that the plugin ships is not there.
        DownloadError: it cannot be fetched.
    """
    spec, plugin = entry.spec, entry.plugin
    if spec.url:
        from zoo.downloads import fetch_files

        folder = storage.zoo_home() / "weights"
        file = FileSpec(path=f"{spec.sha256}.safetensors", size=spec.size or 0, sha256=spec.sha256, urls=(spec.url,))
        fetch_files([file], folder, offline=offline, name=entry.name)
        return folder / file.path
    package, colon, path = spec.file.partition(":")
    try:
        if colon:
            top, *rest = package.split(".")
            found = importlib.util.find_spec(top)
            folders = (found.submodule_search_locations or ()) if found else ()
            candidates = [Path(folder, *rest, path) for folder in folders]
        else:
            candidates = [plugin.source.parent / spec.file] if isinstance(plugin.source, Path) else []
    except Exception as error:
        raise plugin.broken(f"weights {quote(entry.name)}: {spec.file}", describe(error)) from error
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise plugin.broken(f"weights {quote(entry.name)}: {spec.file}", "no such file in the installed package")


def list_runs(runs_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the finished runs that have their weights, with their records, the oldest first."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for folder in _list_folders(runs_dir):
        with suppress(OSError, ValueError, RecursionError):
            record = json.loads((folder / RECORD).read_bytes())
            if isinstance(record, dict) and record.get("status") == "finished" and (folder / FILE_NAME).is_file():
                found.append((folder, record))
    return sorted(found, key=lambda run: (str(run[1].get("started", "")), run[0].name))


def _list_folders(runs_dir: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(path for path in runs_dir.iterdir() if path.is_dir())


def _find_last(runs_dir: Path) -> Path:
    runs = list_runs(runs_dir)
    if not runs:
        raise WeightsError(f"no finished run in {runs_dir}", fix="Start one: zoo run")
    return runs[-1][0] / FILE_NAME


def _find_best(runs_dir: Path, registry: Registry) -> Path:
    """Return the run with the best validation metric; the scores of a test split never choose."""
    best: tuple[float, Path] | None = None
    for folder, record in list_runs(runs_dir):
        with suppress(TypeError, ValueError, AttributeError, StopIteration):
            scores = record.get("validation", {})
            name = next((name for name in scores if name != "loss"), "loss")
            value = float(scores[name]) if name in scores else None
            if value is None:
                continue
            rank = value if name != "loss" and _is_higher_better(name, registry) else -value
            if best is None or rank >= best[0]:
                best = rank, folder / FILE_NAME
    if best is None:
        what = f"no finished run in {runs_dir} was scored on a validation split"
        fix = "Use @last, a path, or a data set with a validation split"
        raise WeightsError(what, "scores of the test split never choose", fix)
    return best[1]


def _is_higher_better(name: str, registry: Registry) -> bool:
    try:
        return registry.get("metric", name.partition(".")[0]).spec.higher_is_better
    except ZooError:
        return True


def find_entries(model: str, dataset: str, registry: Registry) -> list[Entry[WeightsSpec]]:
    """Return the registered weights of a model trained on a data set, by whatever names these go.

    Raises:
        UnknownNameError, AmbiguousNameError: there is no such model or data set, or several.
    """

    def resolve(model: str, dataset: str) -> tuple[str, str]:
        return registry.get("model", model).qualified_name, registry.get("dataset", dataset).qualified_name

    wanted, found = resolve(model, dataset), []
    for entry in registry.list_entries("weights", "*"):
        with suppress(ZooError):  # weights of a model that is not here
            if resolve(entry.spec.model, entry.spec.dataset) == wanted:
                found.append(entry)
    return found


def _find_pair(model: str, dataset: str, registry: Registry, runs_dir: Path, *, offline: bool) -> Path:
    """Return registered weights of a model trained on a data set, else those of the newest finished run of both."""
    entries = find_entries(model, dataset, registry)
    chosen = [entry for entry in entries if entry.is_first_party] or entries
    if len(chosen) > 1:
        names = ", ".join(entry.short_name for entry in chosen)
        raise WeightsError(f"several weights are {model}@{dataset}", fix=f"Use one of: {names}")
    if chosen:
        return resolve_file(chosen[0], offline=offline)
    wanted = registry.get("model", model).qualified_name, registry.get("dataset", dataset).qualified_name
    for folder, record in reversed(list_runs(runs_dir)):
        with suppress(TypeError, KeyError, AttributeError):
            trained = f"{record['plugin']['name']}/{record['model']}"
            data = f"{record['dataset']['plugin']['name']}/{record['dataset']['name']}"
            if wanted == (trained, data):
                return Path(folder, FILE_NAME)
    what = f"no weights of {quote(model)} trained on {quote(dataset)}"
    fix = f"Train them: zoo run --model {model} --dataset {dataset}"
    raise WeightsError(what, f"neither registered nor in {runs_dir}", fix)
