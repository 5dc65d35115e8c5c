"""Results: what is known of trained weights, from their file, their run folder and the test split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, UsageError, describe, quote
from zoo.records import runs
from zoo.records.header import read_header
from zoo.records.metadata import check_metadata
from zoo.records.references import find_weights
from zoo.records.runs import RECORD_FILE, WEIGHTS_FILE, read_record
from zoo.registry.entries import Registry, choose_registry
from zoo.storage import folders
from zoo.training.predictions import Outcomes, read_outcomes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What is known of trained weights.

    Fields:
        name: `MODEL@DATASET`, or the name of the run folder where several are of that pair; no other result of the
            same call has it.
        weights: The file.
        run: The folder of the run that made it, None when it does not lie in one.
        record: The `run.json` of that folder.
        metadata: What the file says about itself.
        outcomes: The predictions on the test split, None when they were not asked for.
    """

    name: str
    weights: Path
    run: Path | None
    record: dict[str, Any] | None
    metadata: dict[str, Any]
    outcomes: Outcomes | None


def read_results(
    references: Sequence[str | os.PathLike[str]],
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    outcomes: bool = True,
    progress: bool = False,
) -> list[Result]:
    """Return what is known of each of the references, which are those of `load`.

    The outcomes come from the run folder if they belong to the weights in it. Else the weights are evaluated on the
    test split of their data set.

    Raises:
        WeightsError: a file is missing, damaged or not zoo's.
        ZooError: see `evaluate`.
    """
    chosen = choose_registry(registry, plugins)
    folder, no_network = folders.runs_dir(runs_dir), folders.offline(offline)
    paths = [find_weights(each, registry=chosen, runs_dir=folder, offline=no_network) for each in references]
    found: list[dict[str, Any]] = []
    for path in paths:
        metadata = read_header(path).metadata
        check_metadata(path, metadata)
        run = path.parent if path.name == WEIGHTS_FILE and (path.parent / RECORD_FILE).is_file() else None
        record = read_record(run / RECORD_FILE) if run else None
        kept = _read_saved_outcomes(run, metadata) if run and outcomes else None
        if kept is None and outcomes:
            from zoo.training.evaluation import evaluate  # torch is not imported where all outcomes come from runs

            kept = evaluate(path, registry=chosen, data_dir=data_dir, offline=no_network, progress=progress).outcomes
        found.append({"weights": path, "run": run, "record": record, "metadata": metadata, "outcomes": kept})
    names = _name_results([(each["weights"], each["run"], each["metadata"]) for each in found])
    return [Result(name=name, **each) for name, each in zip(names, found, strict=True)]


def read_samples(
    result: Result,
    indices: Sequence[int],
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    data_dir: str | Path | None = None,
    offline: bool | None = None,
) -> list[Tensor]:
    """Return the raw images `(C, H, W)` of these samples of the test split that a result is about.

    Raises:
        UsageError: the weights name no data set, or it has no sample of that index.
        DataError: the data cannot be had, or are others than those of the outcomes.
        DownloadError, PluginError: see `fetch`.
    """
    from zoo.data.loading import load_dataset
    from zoo.data.splits import count_samples, find_digest, to_image
    from zoo.registry.factories import load_factory
    from zoo.registry.params import resolve_params

    trained = result.metadata.get("dataset") or {}
    if not trained.get("name"):
        raise UsageError(f"{result.weights} names no data set")
    plugin = trained.get("plugin")
    chosen = choose_registry(registry, plugins)
    entry = chosen.get("dataset", f"{plugin['name']}/{trained['name']}" if plugin else trained["name"])
    given = trained.get("params") or {}
    params = resolve_params(entry.spec, load_factory(entry), given)
    root, no_network = folders.data_dir(data_dir), folders.offline(offline)
    splits = load_dataset(entry, root, params, given=bool(given), offline=no_network)
    known = result.outcomes.facts["digest"] if result.outcomes else None
    if known is not None and find_digest(splits) != known:
        what = f"dataset {quote(entry.name)} is not the one of the predictions of {result.name}"
        raise DataError(what, "its content has changed", f"Evaluate it anew: zoo evaluate {result.weights}")
    split = splits.test
    count = count_samples(split)
    outside = next((index for index in indices if not 0 <= index < count), None)
    if outside is not None:
        raise UsageError(f"the test split of {quote(entry.name)} has no sample {outside}", f"expected 0 to {count - 1}")
    if isinstance(split, tuple):
        return [split[0][index] for index in indices]
    try:
        return [to_image(split[index][0]) for index in indices]
    except Exception as error:
        raise DataError(f"dataset {quote(entry.name)}: a sample cannot be read", describe(error)) from error


def _read_saved_outcomes(run: Path, metadata: dict[str, Any]) -> Outcomes | None:
    """Return the outcomes saved in a run folder, None when there are none or they belong to other weights."""
    path = run / runs.PREDICTIONS_FILE
    if not path.exists():
        return None
    kept, digest = read_outcomes(path), (metadata.get("digests") or {}).get("tensors")
    belongs = digest is not None and kept.facts["weights"] == digest
    return kept if belongs and list(kept.class_names) == metadata["class_names"] else None


def _name_results(results: Sequence[tuple[Path, Path | None, dict[str, Any]]]) -> list[str]:
    """Return a name for each result, all different."""
    pairs = []
    for _, _, metadata in results:
        dataset = (metadata.get("dataset") or {}).get("name")
        pairs.append(f"{metadata['model']}@{dataset}" if dataset else metadata["model"])
    taken = Counter(pairs)
    names: list[str] = []
    for pair, (path, run, _) in zip(pairs, results, strict=True):
        base = name = pair if taken[pair] == 1 else run.resolve().name if run else path.stem
        number = 1
        while name in names:
            number += 1
            name = f"{base} ({number})"
        names.append(name)
    return names
