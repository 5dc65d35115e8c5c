"""Results: what is known of trained weights, from their file, their run folder and the test split."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.display import say
from zoo.errors import DataError, UsageError, one_line, quote, shorten
from zoo.models.references import find_weights
from zoo.records.header import read_header
from zoo.records.history import Epoch
from zoo.records.metadata import WeightsMetadata, read_metadata
from zoo.records.run_folder import FINISHED, PREDICTIONS_FILE, RECORD_FILE, UNKNOWN, WEIGHTS_FILE
from zoo.records.runs import RunRecord, read_record
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import Places, open_places
from zoo.results.names import name_results
from zoo.training.predictions import Outcomes, read_outcomes

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """What is known of trained weights.

    Fields:
        name: No other result of the same call has it: `MODEL@DATASET`, what became of a run that did not finish, and
            the seed where several seeds are of that pair; see `name_results`.
        weights: The file.
        run: The folder of the run that made it, None when it does not lie in one.
        run_record: What that folder's `run.json` says; `record` is the same as a table.
        weights_metadata: What the file says about itself; `metadata` is the same as a table.
        outcomes: The predictions on the test split, None when they were not asked for.
    """

    name: str
    weights: Path
    run: Path | None
    run_record: RunRecord | None
    weights_metadata: WeightsMetadata
    outcomes: Outcomes | None

    @property
    def stopped(self) -> str | None:
        """What became of a run that did not finish, in words; None for a finished one, and where no run is known."""
        record = self.run_record
        if record is None or record.status == FINISHED:
            return None
        asked = record.train_config.get("epochs")
        epochs = asked if isinstance(asked, int) else "?"
        return f"{shorten(one_line(record.status or UNKNOWN), 40)} after {len(record.history)} of {epochs} epochs"

    @property
    def title(self) -> str:
        """`MODEL@DATASET`, and what became of a run that did not finish."""
        title = self.weights_metadata.title
        return f"{title} ({self.stopped})" if self.stopped else title

    @property
    def history(self) -> Sequence[Epoch]:
        """The epochs that the run recorded; none where the weights lie in no run folder."""
        return self.run_record.history if self.run_record else ()

    @property
    def record(self) -> dict[str, Any] | None:
        """The `run.json` of the run, None where the weights lie in no run folder."""
        return self.run_record.to_json() if self.run_record else None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the weights file says of itself."""
        return self.weights_metadata.to_json()

    def __repr__(self) -> str:
        accuracy = f"accuracy {self.outcomes.accuracy:.4f}" if self.outcomes else None
        return say("Result", self.name, accuracy, weights=self.weights)


@checked
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

    The outcomes come from the run folder where they belong to the weights in it; else the weights are evaluated on the
    test split of their data set.

    Raises:
        WeightsError: a file is missing, damaged or not zoo's.
        ZooError: see `evaluate`.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    paths = [find_weights(each, places) for each in references]
    results = [gather_result(path, places, outcomes=outcomes, progress=progress) for path in paths]
    for result in results:
        if result.stopped:
            log.warning("%s: its run is %s", result.run, result.stopped)
    return name_results(results)


def gather_result(path: Path, places: Places, *, outcomes: bool = True, progress: bool) -> Result:
    """Return what is known of a weights file, without a name; see `read_results`."""
    metadata = read_metadata(path, read_header(path).metadata)
    run = path.parent if path.name == WEIGHTS_FILE and (path.parent / RECORD_FILE).is_file() else None
    record = read_record(run / RECORD_FILE) if run else None
    kept = _read_saved_outcomes(run, metadata) if run and outcomes else None
    if kept is None and outcomes:
        if metadata.dataset is None:
            fix = f"Score it alone: zoo.evaluate({str(path)!r}, dataset='NAME')"
            raise UsageError(f"{path} names no data set", "its test split is not known", fix)
        from zoo.training.evaluation import evaluate  # torch is not imported where all outcomes come from runs

        data_dir, offline = places.given_data_dir, places.offline
        done = evaluate(path, registry=places.registry, data_dir=data_dir, offline=offline, progress=progress)
        kept = done.outcomes
    return Result(name="", weights=path, run=run, run_record=record, weights_metadata=metadata, outcomes=kept)


def require_outcomes(result: Result) -> Outcomes:
    """Return the outcomes of a result that was read with them."""
    if result.outcomes is None:
        raise ValueError(f"{result.name} was read without its outcomes")
    return result.outcomes


def require_history(result: Result) -> Sequence[Epoch]:
    """Return the epochs that the run of a result recorded, at least one.

    Raises:
        UsageError: it has none.
    """
    if result.history:
        return result.history
    why = f"its record in {result.run} has no epochs"
    if result.run is None:
        why = "it is weights alone, and how they were trained is known of runs only"
    raise UsageError(f"no curves of {result.name or result.title}", why, "Give a run folder or @last, after zoo run")


@checked
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
        DataError: the data cannot be had, or differ from those of the outcomes.
        DownloadError, PluginError: see `fetch`.
    """
    return gather_samples(result, indices, open_places(registry, plugins, data_dir=data_dir, offline=offline))


def gather_samples(result: Result, indices: Sequence[int], places: Places) -> list[Tensor]:
    """Return the raw images of samples of the test split; see `read_samples`."""
    from zoo.data.loading import open_dataset
    from zoo.data.splits import count_samples, hash_splits, read_places

    trained = result.weights_metadata.dataset
    if trained is None:
        raise UsageError(f"{result.weights} names no data set")
    entry, splits = open_dataset(trained.qualified_name, trained.params, places)
    known = result.outcomes.origin.digest if result.outcomes else None
    if known is not None and hash_splits(splits) != known:
        what = f"dataset {quote(entry.name)} is not the one of the predictions of {result.name}"
        raise DataError(
            what, "its content has changed", f"Evaluate it anew: zoo evaluate {shlex.quote(str(result.weights))}"
        )
    count = count_samples(splits.test)
    outside = next((index for index in indices if not 0 <= index < count), None)
    if outside is not None:
        raise UsageError(f"the test split of {quote(entry.name)} has no sample {outside}", f"expected 0 to {count - 1}")
    return [image for image, _ in read_places(splits.test, indices)]


def _read_saved_outcomes(run: Path, metadata: WeightsMetadata) -> Outcomes | None:
    """Return the outcomes saved in a run folder, None when there are none or they belong to other weights."""
    path = run / PREDICTIONS_FILE
    if not path.exists():
        return None
    kept, digest = read_outcomes(path), metadata.digests.get("tensors")
    belongs = digest is not None and kept.origin.weights == digest
    return kept if belongs and kept.class_names == metadata.class_names else None
