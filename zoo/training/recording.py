"""Recording: the folder of a run in the making, its record, its weights and its predictions."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from zoo.data.splits import count_samples, hash_splits
from zoo.errors import DivergedError, StorageError, WeightsError, describe
from zoo.models.device import describe_device
from zoo.models.saving import describe_samples, save_proven
from zoo.models.weights import save_weights
from zoo.records.header import read_header
from zoo.records.metadata import DatasetOrigin, WeightsMetadata, read_metadata
from zoo.records.plain import to_json_data
from zoo.records.runs import PREDICTIONS_FILE, WEIGHTS_FILE, RunRecord, create_run, save_record
from zoo.registry.entries import Entry
from zoo.registry.origin import find_origin
from zoo.registry.specs import ModelSpec
from zoo.storage import files, folders
from zoo.training.confusion import score_classes
from zoo.training.predictions import OutcomeCollector, OutcomeOrigin, save_outcomes
from zoo.training.request import Request
from zoo.training.setup import Preparation
from zoo.training.trainer import Trainer
from zoo.version import __version__

log = logging.getLogger("zoo")

MAX_LISTED = 1000
"""Classes whose confusion matrix is in the record of a run: of more it would be many megabytes of text, and the file of
the predictions says the same."""


class Recording:
    """Keeps what is known of a run: `folder` is its own, `record` is what its `run.json` says next."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder, self.record = folder, record
        self.write()

    def note(self, **parts: Any) -> None:
        """Change parts of the record; the file follows with the next `write`."""
        self.record = replace(self.record, **parts)

    def write(self) -> None:
        """Write the record; raise StorageError, and leave the one before, when that fails."""
        save_record(self.folder, self.record)

    @contextmanager
    def keeping_history(self, trainer: Trainer) -> Iterator[None]:
        """Keep the epochs that were done when the body fails; the error goes on to the caller."""
        try:
            yield
        except BaseException as error:
            self.note(history=trainer.history)
            self.write_failure(error)
            done = f"{len(trainer.history)} of {trainer.config.epochs} epochs"
            error.add_note(f"{done} are recorded in {self.folder}; no weights were saved.")
            raise

    def write_failure(self, error: BaseException) -> None:
        """Write how a run ended that did not come to its end."""
        named = {KeyboardInterrupt: "interrupted", DivergedError: "diverged"}
        status = next((name for kind, name in named.items() if isinstance(error, kind)), "failed")
        self.note(status=status, error=describe(error))
        try:
            self.write()
        except StorageError as problem:
            log.warning("%s", problem)

    def finish(self, model: Entry[ModelSpec], ready: Preparation, outcomes: OutcomeCollector) -> Path:
        """Write the weights, the predictions and the last record; return the weights file.

        Raises:
            StorageError: something cannot be written; says where the weights are.
        """
        try:
            path = save_trained(self.folder, model, self.record, ready)
            self.note(**save_predictions(self.folder, path, self.record, outcomes, ready))
        except StorageError as error:
            self.write_failure(error)
            raise
        self.write()
        return path


def open_recording(request: Request, ready: Preparation) -> Recording:
    """Make a run's folder and write what is known before its first step; raise StorageError when that fails."""
    plan, pretrained = request.plan, request.pretrained
    record = RunRecord(
        init=pretrained.origin if pretrained else None,
        transfer=asdict(ready.transfer) if ready.transfer else None,
        frozen=request.frozen,
        status="running",
        started=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        model=plan.model.name,
        plugin=find_origin(plan.model),
        params=plan.params,
        dataset=DatasetOrigin(
            name=plan.dataset.name,
            plugin=find_origin(plan.dataset),
            params=plan.dataset_params,
            digest=hash_splits(ready.splits),
            samples={name: count_samples(split) for name, split in ready.splits.items()},
        ),
        metric_plugins={name: find_origin(entry) for name, entry in plan.metrics.items()},
        metric_params=plan.metric_params,
        train_config=asdict(plan.config),
        adapted=tuple(ready.adapted),
        seed=plan.config.seed,
        device=str(plan.device),
        device_name=describe_device(plan.device),
        threads=ready.threads,
        parameters=sum(parameter.numel() for parameter in ready.model.parameters()),
        versions=find_versions(ready.model),
    )
    return Recording(create_run(request.places.runs_dir, plan.model.name, plan.dataset.name), record)


def find_versions(model: torch.nn.Module) -> dict[str, str]:
    """Return the versions of what made the model, also of the package that has its code: a library behind a plugin."""
    versions = {"zoo": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    package = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    return {package: version, **versions} if isinstance(version, str) else versions


def save_trained(folder: Path, entry: Entry[ModelSpec], record: RunRecord, ready: Preparation) -> Path:
    """Write the weights of a run into its folder, or elsewhere with a StorageError that says where; return the file."""
    path = folder / WEIGHTS_FILE
    metadata = describe_weights(path, record, ready)
    try:
        save_proven(path, ready.model, entry, metadata)
    except WeightsError as error:
        # The training is done, and weights without a proof are better than none.
        log.warning("%s. Its weights are saved without golden samples", error)
        save_weights(path, ready.model, replace(metadata, golden=None))
    except StorageError as error:
        # The training is done; its result must not be lost because a folder is gone or a disk is full.
        saved = files.create_folder(folders.zoo_home() / "rescued", folder.name) / WEIGHTS_FILE
        save_weights(saved, ready.model, metadata)
        raise StorageError(error.what, error.why, f"The weights were saved to {saved} instead") from error
    return path


def describe_weights(path: Path, record: RunRecord, ready: Preparation) -> WeightsMetadata:
    """Return what a weights file says of the run it comes from."""
    names = list(ready.splits.class_names)
    facts = describe_samples(ready.model, ready.preprocess, names, ready.splits.train, ready.splits.test)
    table = {key: getattr(record, key) for key in RUN_FACTS}
    table |= {"input_shape": ready.input_shape, "class_names": names, "preprocess": ready.preprocess, **vars(facts)}
    return read_metadata(path, to_json_data(table))


RUN_FACTS = (
    *("model", "plugin", "params", "dataset", "metrics", "train_config", "seed", "device", "threads", "versions"),
    *("init", "frozen"),
)
"""What the weights file of a run says as its record does."""


def save_predictions(
    folder: Path, weights: Path, record: RunRecord, outcomes: OutcomeCollector, ready: Preparation
) -> dict[str, Any]:
    """Write the predictions on the test split; return what the record says of them.

    Raises:
        StorageError: they cannot be written; says that the weights are there.
    """
    names = ready.splits.class_names
    origin = OutcomeOrigin(
        model=str(record.model),
        dataset=record.dataset.name if record.dataset else "",
        split="test",
        digest=record.dataset.digest if record.dataset else None,
        weights=read_metadata(weights, read_header(weights).metadata).digests["tensors"],
    )
    collected = outcomes.collect(names, origin)
    save_outcomes(folder / PREDICTIONS_FILE, collected, fix=f"The weights were saved to {weights}")
    if len(names) > MAX_LISTED:
        return {}
    scores = score_classes(collected.matrix, collected.class_names)
    return {"confusion": collected.matrix.tolist(), "per_class": [asdict(score) for score in scores]}
