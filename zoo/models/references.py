"""References to weights: a path, a run folder, `@last`, `@best`, `MODEL@DATASET`, or the name of a registered entry."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from pathlib import Path

from zoo.errors import (
    UnknownNameError,
    WeightsError,
    ZooError,
    ask,
    closest,
    quote,
    suggest,
)
from zoo.models.registered import find_entries, resolve_file
from zoo.records.run_folder import RECORD_FILE, UNKNOWN, WEIGHTS_FILE
from zoo.records.run_index import list_usable
from zoo.records.runs import RunRecord, read_record
from zoo.registry.entries import Entry, Registry
from zoo.registry.places import Places
from zoo.registry.specs import WeightsSpec

REFERENCE = re.compile(r"[\w.-]*(/[\w.-]+)?(@[\w.-]*(/[\w.-]+)?)?", re.ASCII)


def find_weights(reference: str | os.PathLike[str], places: Places) -> Path:
    """Return the weights file that a reference means; registered weights that lie elsewhere are fetched.

    Raises:
        WeightsError, UnknownNameError, AmbiguousNameError: see `find_reference`.
        PluginError, DownloadError, StorageError: registered weights cannot be had.
    """
    found = find_reference(reference, places)
    return found if isinstance(found, Path) else resolve_file(found, places.registry, offline=places.offline)


def find_reference(reference: str | os.PathLike[str], places: Places) -> Path | Entry[WeightsSpec]:
    """Return the weights file or the registered weights that a reference means; nothing is imported or fetched.

    A path that exists wins. `MODEL`, `DATASET` and the name of an entry may be `plugin/name`.

    Raises:
        WeightsError: there is no such file or run, or several weights and none of them is the default.
        UnknownNameError, AmbiguousNameError: no registered weights of that name, or several.
    """
    text = os.fspath(reference)
    fix = "Give a .safetensors file or a run folder"
    if not text:  # as a path, an empty text would mean the current folder; it comes from a variable that is not set
        raise WeightsError("no weights at ''", "expected a reference, got an empty text", fix)
    if "://" in text:
        fix = "Download the file and give its path; zoo list weights names those that zoo fetches itself"
        raise WeightsError(f"no weights at {quote(text)}", "zoo opens no address", fix)
    path, is_folder = Path(text), False
    # Names that are too long, and homes of users who do not exist, raise here; they are no files either.
    with suppress(OSError, RuntimeError, ValueError):
        path = path.expanduser()
        is_folder = path.is_dir()
        found = path / WEIGHTS_FILE if is_folder else path
        if found.is_file():
            return found
    missing = WeightsError(f"no weights at {quote(path)}", "no such file", fix)
    if is_folder:
        raise _miss_weights(path, places)
    if not isinstance(reference, str) or not REFERENCE.fullmatch(text) or text.endswith(".safetensors"):
        raise missing
    registry, runs_dir = places.registry, places.runs_dir
    if text == "@last":
        if (last := next(list_usable(runs_dir), None)) is None:
            raise WeightsError(f"no finished run in {runs_dir}", fix="Start one: zoo run")
        return last.run / WEIGHTS_FILE
    if text == "@best":
        return _find_best(runs_dir, registry)
    model, at, dataset = text.rpartition("@")
    if at and model and dataset:
        return _find_pair(model, dataset, places)
    if at:
        raise WeightsError(f"no weights are called {quote(text)}", fix="Give @last, @best or MODEL@DATASET")
    try:
        return registry.get("weights", text)
    except UnknownNameError as error:
        if "/" in text:  # it may well have been meant as a path
            plugin = text[: text.index("/") + 1]
            own = [name for name in error.known if name.startswith(plugin)]
            raise WeightsError(missing.what, missing.why, suggest(text, own, fix)) from None
        raise


def _miss_weights(run: Path, places: Places) -> WeightsError:
    """Return the error for a folder without weights: of a run it says what became of it, of runs which there are."""
    if not (run / RECORD_FILE).is_file():
        if not (runs := list(list_usable(run))):
            why, fix = (
                "the folder is neither a run nor does it hold weights",
                "Give a .safetensors file or a run folder",
            )
            return WeightsError(f"no weights at {quote(run)}", why, fix)
        newest, count = runs[0].run, f"it is a folder of {len(runs)} run{'' if len(runs) == 1 else 's'}"
        is_usual = run.absolute() == places.runs_dir.absolute()
        fix = f"Give one of them, {newest} say{', or @last, the newest' if is_usual else ''}"
        return WeightsError(f"no weights at {quote(run)}", count, fix)
    record = read_record(run / RECORD_FILE)
    done = f"{len(record.history)} of {record.train_config.get('epochs', '?')} epochs are recorded"
    why = f"its run is {quote(record.status or UNKNOWN)}, {done}"
    return WeightsError(f"no weights at {quote(run)}", f"{why}; {record.error}" if record.error else why)


def _find_best(runs_dir: Path, registry: Registry) -> Path:
    """Return the run with the best validation metric; the scores of a test split never choose."""
    # The newest run comes first, because `max` takes the first of equal ones.
    scored = [(run.run, scores) for run in list_usable(runs_dir) if (scores := _keep_finite(run.validation))]
    if not scored:
        what = f"no finished run in {runs_dir} was scored on a validation split"
        fix = "Use @last, a path, or a data set with a validation split"
        raise WeightsError(what, "scores of the test split never choose", fix)
    run, newest = scored[0]
    # Only values of the same metric can be compared. The first metric of the newest run is taken.
    name = next((name for name in newest if name != "loss"), "loss")
    sign = 1 if name != "loss" and _is_higher_better(name, read_record(run / RECORD_FILE), registry) else -1
    values = {folder: sign * scores[name] for folder, scores in scored if name in scores}
    return max(values, key=lambda folder: values[folder]) / WEIGHTS_FILE


def _keep_finite(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Return the scores that are finite numbers."""
    # The value is not converted to a float: JSON may hold whole numbers that are too large for one.
    return {name: value for name, value in scores.items() if value is not None and -inf < value < inf}


def _is_higher_better(name: str, record: RunRecord, registry: Registry) -> bool:
    """Ask the metric of the very plugin that scored the run; one with several values calls them `metric.key`.

    What the run minimised is there under the name of its loss.
    """
    loss = record.train_config.get("loss")
    if isinstance(loss, str) and name not in record.metric_plugins and name in (loss, loss.rpartition("/")[2]):
        return False
    owners = [given for given in record.metric_plugins if f"{name}.".startswith(f"{given}.")]
    metric = name
    if owners:
        given = max(owners, key=len)
        metric = record.metric_plugins[given].qualify(given.rpartition("/")[2])
    try:
        return registry.get("metric", metric).spec.higher_is_better
    except ZooError as error:
        what = f"cannot tell whether more or less {quote(name)} is better"
        raise WeightsError(what, str(error), "Give its plugin, or a path") from error


def _find_pair(model: str, dataset: str, places: Places) -> Path | Entry[WeightsSpec]:
    """Return registered weights of a model trained on a data set, else those of the newest finished run of both."""
    registry, runs_dir = places.registry, places.runs_dir
    entries, trained = list[Entry[WeightsSpec]](), dataset
    unknown: UnknownNameError | None = None
    try:
        entries = find_entries(model, dataset, registry)
        trained = registry.get("dataset", dataset).qualified_name
    except UnknownNameError as error:
        if error.kind != "dataset":
            raise
        unknown = error
    chosen = [entry for entry in entries if entry.is_first_party] or entries
    if len(chosen) > 1:
        chosen = [entry for entry in chosen if entry.spec.default] or chosen
    if len(chosen) > 1:
        names = ", ".join(entry.short_name for entry in chosen)
        raise WeightsError(f"several weights are {model}@{dataset}", fix=f"Use one of: {names}")
    if chosen:
        return chosen[0]
    wanted = registry.get("model", model).qualified_name
    for run in list_usable(runs_dir):
        # A run of a data set that is not registered any more is found by its bare name as well.
        if run.model == wanted and trained in (run.dataset, unknown and run.dataset.rpartition("/")[2]):
            return run.run / WEIGHTS_FILE
    if unknown is not None:
        said = dict.fromkeys(entry.spec.dataset for entry in registry.list_weights_of(registry.get("model", model)))
        if near := closest(dataset, said):
            raise UnknownNameError("dataset", dataset, [*said], fix=ask([f"{model}@{near}"]))
        raise unknown
    what = f"no weights of {quote(model)} trained on {quote(dataset)}"
    fix = f"Train them: zoo.run(model={model!r}, dataset={dataset!r})"
    raise WeightsError(what, f"neither registered nor in {runs_dir}", fix)
