"""Selection: which of many references can be shown together, and what is left out and why.

`runs/*` gives finished runs, stopped ones, runs of other data sets and files that are no runs. What cannot take part
must not keep the rest from being shown, and must not go missing in silence either.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import (
    OutOfMemoryError,
    StorageError,
    UsageError,
    WeightsError,
    ZooError,
    one_line,
    quote,
    shorten,
    suggest,
)
from zoo.models.references import find_weights
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.origins import DatasetOrigin
from zoo.records.run_folder import RECORD_FILE, RUNNING, UNKNOWN, WEIGHTS_FILE
from zoo.records.runs import read_record
from zoo.registry.fields import make_absolute
from zoo.registry.places import Places
from zoo.results.names import name_results
from zoo.results.reading import Result, gather_result, require_history

MAX_NAMED = 12
"""References that the line about what was left out names, at most."""
MAX_REASON = 100
"""Letters of a reason in that line, at most."""

log = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A path that takes no part: the `reference` as it was given, and `why`."""

    reference: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The results that take part, and what does not."""

    results: tuple[Result, ...]
    left_out: tuple[LeftOut, ...]


def select_results(
    references: Sequence[str | os.PathLike[str]],
    places: Places,
    *,
    datasets: Sequence[str] = (),
    curves: bool = False,
    progress: bool,
) -> Selection:
    """Read the results of references, each file once, and leave out paths that cannot take part, with a warning.

    A name, as MODEL@DATASET, and a path where nothing is must be right; they are never left out. With `datasets`, each
    `name`, `plugin/name` or a path, only results on those take part, and others are not looked at further. For `curves`
    a result needs recorded epochs, and no outcomes.

    Raises:
        UsageError: no reference, or no result on these data sets.
        WeightsError: nothing is left; for a single reference the error that says why.
        ZooError: see `read_results`.
    """
    if not references:
        raise UsageError("nothing to compare", "expected references to weights", "Give run folders, or MODEL@DATASET")
    found: dict[Path, Result] = {}
    left_out: dict[str, LeftOut] = {}
    errors: list[ZooError] = []
    others: list[DatasetOrigin | None] = []
    for reference in references:
        text = os.fspath(reference)
        try:
            path = find_weights(reference, places)
            if path.resolve() in found:
                continue
            trained = read_metadata(path, read_header(path).metadata).dataset if datasets else None
            if datasets and not _is_wanted(trained, datasets):
                others.append(trained)
                continue
            found[path.resolve()] = _read_result(path, places, curves=curves, progress=progress)
        except (StorageError, OutOfMemoryError):  # about this machine, not about the reference
            raise
        except ZooError as error:
            if not _exists(text):
                raise
            why, dataset = _explain(Path(text).expanduser(), error)
            if datasets and dataset and not _is_wanted(dataset, datasets):
                others.append(dataset)
            else:
                errors.append(error)
                left_out[text] = LeftOut(reference=text, why=why)
    missing = tuple(left_out.values())
    _check_datasets(datasets, [result.weights_metadata.dataset for result in found.values()], others, missing)
    if not found:
        fix = "Give a .safetensors file or the folder of a run that has weights"
        several = WeightsError("nothing to show", describe_left_out(missing, 0), fix)
        raise errors[0] if len(errors) == 1 else several
    if missing:
        log.warning("%s", describe_left_out(missing, len(found)))
    return Selection(results=tuple(name_results(list(found.values()))), left_out=missing)


def _read_result(path: Path, places: Places, *, curves: bool, progress: bool) -> Result:
    result = gather_result(path, places, outcomes=not curves, progress=progress)
    if curves:
        require_history(result)
    return result


def _check_datasets(
    wanted: Sequence[str],
    found: Sequence[DatasetOrigin | None],
    others: Sequence[DatasetOrigin | None],
    left_out: Sequence[LeftOut],
) -> None:
    """Raise UsageError where no result is on one of the data sets that were asked for, unless nothing can be read."""
    unknown = [name for name in wanted if not any(_is_wanted(each, [name]) for each in found)]
    if unknown and (found or others):
        there = sorted({each.name for each in (*found, *others) if each})
        why = f"they are on {', '.join(there)}" if there else "their files name no data set"
        also = f"; {describe_left_out(left_out, len(found))}" if left_out else ""
        fix = suggest(unknown[0], there, "Give one of those, or other runs" if there else "Give other runs")
        raise UsageError(f"no results on {' or '.join(map(quote, unknown))}", f"{why}{also}", fix)


def describe_left_out(left_out: Sequence[LeftOut], kept: int) -> str:
    """Return one line on what was left out beside `kept` results: `left out 2 of 7: a (diverged, no weights), ...`."""
    names = [_shorten_path(each.reference) for each in left_out]
    if len({*names}) < len(names):
        names = [each.reference for each in left_out]
    told = [f"{one_line(name)} ({each.why})" for name, each in zip(names, left_out, strict=True)][:MAX_NAMED]
    rest = len(left_out) - len(told)
    return f"left out {len(left_out)} of {len(left_out) + kept}: {', '.join(told)}{f' and {rest} more' if rest else ''}"


def _exists(text: str) -> bool:
    """Tell whether a reference is the path of something, be it a link to nothing."""
    try:
        return bool(text) and os.path.lexists(Path(text).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False


def _is_wanted(dataset: DatasetOrigin | None, wanted: Sequence[str]) -> bool:
    """Tell whether a data set is one of those that were asked for, by name or by the path that it reads."""
    if dataset is None:
        return False
    paths = set(map(str, (dataset.params or {}).values()))
    return any(name in (dataset.name, dataset.qualified_name) or make_absolute(name) in paths for name in wanted)


def _explain(path: Path, error: ZooError) -> tuple[str, DatasetOrigin | None]:
    """Return in a few words why a path takes no part, and the data set of its run where that is known."""
    if not path.exists():
        return "a link to nothing", None
    if isinstance(error, WeightsError) and path.is_file() and path.suffix != Path(WEIGHTS_FILE).suffix:
        return "no weights file", None
    dataset = None
    if path.is_dir():
        without = not (path / WEIGHTS_FILE).is_file()
        if not (path / RECORD_FILE).is_file():
            return "no run" if without else _tell(path, error), None
        try:
            record = read_record(path / RECORD_FILE)
        except ZooError as damage:
            return _cut(f"its record cannot be used: {damage.why}"), None
        if without:
            status = "still running" if record.status == RUNNING else _cut(record.status or UNKNOWN)
            return f"{status}, no weights", record.dataset
        dataset = record.dataset
    return _tell(path, error), dataset


def _tell(path: Path, error: ZooError) -> str:
    first = error.problems[0]
    what = first.what.removeprefix(str(path)).lstrip("/ ")
    return _cut(f"{what}: {first.why}" if first.why else what)


def _cut(text: str) -> str:
    return shorten(one_line(text), MAX_REASON)


def _shorten_path(reference: str) -> str:
    return Path(reference).name or reference
