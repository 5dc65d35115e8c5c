"""Run: where the registry and the trainer meet. From names and settings to a trained, evaluated, saved model."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Unpack

import torch

from zoo.data.batches import name_dead_worker
from zoo.data.splits import count_samples, find_digest
from zoo.errors import (
    DivergedError,
    ErrorCollector,
    OutOfMemoryError,
    PluginError,
    StorageError,
    WeightsError,
    ZooError,
    describe,
    is_out_of_memory,
    quote,
)
from zoo.models.device import describe_device, use_seed, use_threads
from zoo.models.pretrained import Start, read_start
from zoo.models.saving import describe_samples, save_proven
from zoo.models.transfer import check_patterns
from zoo.models.weights import save_weights
from zoo.records import runs
from zoo.records.header import read_header
from zoo.records.references import find_weights
from zoo.records.runs import PREDICTIONS_FILE, WEIGHTS_FILE, RunResult, to_json_data
from zoo.registry.entries import Entry, Registry, choose_registry, describe_plugin
from zoo.registry.keywords import Settings
from zoo.registry.specs import ModelSpec
from zoo.storage import files, folders
from zoo.training.confusion import score_classes
from zoo.training.plan import Plan, make_plan
from zoo.training.predictions import OutcomeCollector, save_outcomes
from zoo.training.progress import bar, no_progress
from zoo.training.setup import Preparation, prepare
from zoo.training.trainer import Epoch, Trainer, evaluate
from zoo.version import __version__

log = logging.getLogger("zoo")

MAX_LISTED = 1000
"""Classes whose confusion matrix is in the record of a run: of more it would be many megabytes of text, and the file of
the predictions says the same."""


def run(
    model: str | None = None,
    dataset: str | None = None,
    *,
    init: str | Path | None = None,
    freeze: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] = ("accuracy",),
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    **settings: Unpack[Settings],
) -> RunResult:
    """Train a registered model on a registered data set, evaluate it after each epoch and save its weights.

    Without names these are `baseline` and `shapes`, or with `init`, a reference to weights as `load` takes it, the
    model and the data set of that file with their params. The model then starts from the file's tensors as far as
    they fit; what depends on the classes is new for other classes. Parameters whose names match a shell pattern of
    `freeze` are not trained; by default those that the file says.

    `settings` are the fields of `TrainConfig`: epochs, batch_size, lr, optimizer, momentum, weight_decay, seed, device,
    threads, workers. What is not given comes from the model's recommendation, then from the defaults. The thread count
    and the random state of the caller stay as they are.

    Raises:
        ZooError: see `zoo.errors`; all problems with names, params and settings are found before anything is loaded.
    """
    registry = choose_registry(registry, plugins)
    chosen = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    folder, no_network = folders.runs_dir(runs_dir), folders.offline(offline)
    asked = (model or "baseline", dataset or "shapes", params or {}, dataset_params or {})
    patterns = [freeze] if isinstance(freeze, str) else list(freeze or ())
    start: Start | None = None
    errors = ErrorCollector()
    if init is not None:
        with errors.catch():
            start = read_start(find_weights(init, registry=registry, runs_dir=folder, offline=no_network))
            asked = start.complete(registry, model, dataset, params or {}, dataset_params or {})
        if not (model and dataset):
            errors.raise_any()  # what else was meant is not known then
        if start is not None:
            with errors.catch():
                # What the file does not have would stay random for good.
                check_patterns(patterns, start.tensors)
    with errors.catch():
        model, dataset, params, dataset_params = asked
        plan = make_plan(registry, model, dataset, chosen, params, dataset_params, metric_params or {}, settings)
        if start is not None:
            start.check(plan.model, plan.params)
            patterns = start.frozen if freeze is None and start.is_of(plan.model) else patterns
    errors.raise_any()
    files.check_writable(folder, fix="Choose another folder with --runs-dir")
    root = folders.data_dir(data_dir)
    with use_seed(plan.config.seed), use_threads(plan.config.threads or 1), _out_of_memory(plan):
        return _run(plan, folder, root, no_network, progress, on_epoch, start, patterns)


def _run(
    plan: Plan,
    folder: Path,
    root: Path,
    offline: bool,
    progress: bool,
    on_epoch: Callable[[Epoch], None] | None,
    start: Start | None,
    frozen: Sequence[str],
) -> RunResult:
    ready = prepare(plan, root, offline=offline, start=start, frozen=frozen)
    run_folder = runs.create_run(folder, plan.model.name, plan.dataset.name)
    record = _describe(plan, ready, start, frozen)
    runs.save_record(run_folder, record)
    show = bar if progress else no_progress
    collector = OutcomeCollector()
    trainer = Trainer(
        ready.model, plan.config, plan.device, ready.metrics, show=show, on_epoch=on_epoch, outcomes=collector
    )
    started = time.perf_counter()
    try:
        scores = _fit(plan, trainer, ready)
    except BaseException as error:
        _save_failure(run_folder, {**record, "history": trainer.history}, error)
        done = f"{len(trainer.history)} of {plan.config.epochs} epochs"
        error.add_note(f"{done} are recorded in {run_folder}; no weights were saved.")
        raise
    seconds = time.perf_counter() - started
    record |= {"status": "finished", "history": trainer.history, "metrics": scores, "seconds": seconds}
    if ready.validation is not None:
        record["validation"] = evaluate(ready.model, ready.validation, ready.metrics, show=show)
    try:
        path = save_trained(run_folder, plan.model, record, ready)
        record |= _save_outcomes(run_folder, path, record, collector, ready)
    except StorageError as error:
        _save_failure(run_folder, record, error)
        raise
    runs.save_record(run_folder, record)
    return RunResult(
        run=run_folder,
        weights=path,
        model=plan.model.name,
        dataset=plan.dataset.name,
        device=str(plan.device),
        threads=ready.threads,
        seed=plan.config.seed,
        params=plan.params,
        dataset_params=plan.dataset_params,
        train_config=asdict(plan.config),
        metrics=scores,
        history=trainer.history,
        seconds=seconds,
    )


def _describe(plan: Plan, ready: Preparation, start: Start | None, frozen: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a run before its first step."""
    origin = {"init": start.origin, "transfer": asdict(ready.transfer)} if start and ready.transfer else {}
    return {
        **origin,
        **({"frozen": list(frozen)} if frozen else {}),
        "status": "running",
        "started": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "model": plan.model.name,
        "plugin": describe_plugin(plan.model),
        "params": plan.params,
        "dataset": {
            "name": plan.dataset.name,
            "plugin": describe_plugin(plan.dataset),
            "params": plan.dataset_params,
            "digest": find_digest(ready.splits),
            "samples": {name: count_samples(split) for name, split in ready.splits.items()},
        },
        "metrics": {},
        "metric_plugins": {name: describe_plugin(entry) for name, entry in plan.metrics.items()},
        "metric_params": plan.metric_params,
        "train_config": asdict(plan.config),
        "adapted": ready.adapted,
        "seed": plan.config.seed,
        "device": str(plan.device),
        "device_name": describe_device(plan.device),
        "threads": ready.threads,
        "parameters": sum(parameter.numel() for parameter in ready.model.parameters()),
        "versions": _find_versions(ready.model),
        "history": [],
    }


def _find_versions(model: torch.nn.Module) -> dict[str, str]:
    """Return the versions of what made the model: of the package that has its code too, a library behind a plugin."""
    versions = {"zoo": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    package = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    return {package: version, **versions} if isinstance(version, str) else versions


@contextmanager
def _out_of_memory(plan: Plan) -> Iterator[None]:
    """Name the batch size when memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        size = plan.config.batch_size
        fix = f"Try --batch-size {max(1, size // 4)}" if size > 1 else "Try a smaller model"
        raise OutOfMemoryError(
            f"not enough memory on {plan.device} for model {quote(plan.model.name)} and batches of {size}",
            describe(error),
            fix,
        ) from error


def _fit(plan: Plan, trainer: Trainer, ready: Preparation) -> dict[str, float]:
    """Train and return the last scores; without epochs, those of the untrained model."""
    try:
        with name_dead_worker(plan.dataset.name):
            if history := trainer.fit(ready.train, ready.test):
                return dict(history[-1]["test"])
            log.info("0 epochs: the model is evaluated %s", "as it starts" if ready.transfer else "untrained")
            return evaluate(ready.model, ready.test, ready.metrics, show=trainer.show, outcomes=trainer.outcomes)
    except ZooError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or plan.model.is_first_party:
            raise
        plugin = plan.model.plugin
        what = f"training model {quote(plan.model.name)} failed"
        raise PluginError(plugin.name, plugin.version, what, describe(error)) from error


def _save_failure(folder: Path, record: Mapping[str, Any], error: BaseException) -> None:
    """Keep the history of a run that did not come to its end. The error itself goes on to the caller."""
    named = {KeyboardInterrupt: "interrupted", DivergedError: "diverged"}
    status = next((name for kind, name in named.items() if isinstance(error, kind)), "failed")
    try:
        runs.save_record(folder, {**record, "status": status, "error": describe(error)})
    except StorageError as problem:
        log.warning("%s", problem)


def _save_outcomes(
    folder: Path, path: Path, record: Mapping[str, Any], collector: OutcomeCollector, ready: Preparation
) -> dict[str, Any]:
    """Keep the predictions on the test split; return what the record says of them."""
    dataset = record["dataset"]
    facts = {
        "model": record["model"],
        "dataset": dataset["name"],
        "split": "test",
        "digest": dataset["digest"],
        "weights": read_header(path).metadata["digests"]["tensors"],
    }
    outcomes = collector.collect(ready.splits.class_names, facts)
    save_outcomes(folder / PREDICTIONS_FILE, outcomes, fix=f"The weights were saved to {path}")
    if len(outcomes.class_names) > MAX_LISTED:
        return {}
    scores = score_classes(outcomes.matrix, outcomes.class_names)
    return {"confusion": outcomes.matrix.tolist(), "per_class": [asdict(score) for score in scores]}


def save_trained(folder: Path, entry: Entry[ModelSpec], record: Mapping[str, Any], ready: Preparation) -> Path:
    """Write the weights of a run into its folder; return the file.

    Raises:
        StorageError: they cannot be written there; says where they are instead.
    """
    names = list(ready.splits.class_names)
    metadata = {name: record[name] for name in RUN_FACTS if name in record} | {
        "input_shape": list(ready.input_shape),
        "class_names": names,
        "preprocess": ready.preprocess.to_dict(),
        **describe_samples(ready.model, ready.preprocess, names, ready.splits.train, ready.splits.test),
    }
    metadata = to_json_data(metadata)
    path = folder / WEIGHTS_FILE
    try:
        save_proven(path, ready.model, entry, metadata)
    except WeightsError as error:
        # The training is done; weights without proof are better than none.
        log.warning("%s. Its weights are saved without golden samples", error)
        save_weights(path, ready.model, {**metadata, "golden": None})
    except StorageError as error:
        # The training is done and its result must not be lost with the folder or the disk it was meant for.
        rescue = folders.zoo_home() / "rescued"
        saved = files.create_folder(rescue, folder.name) / WEIGHTS_FILE
        save_weights(saved, ready.model, metadata)
        raise StorageError(error.what, error.why, f"The weights were saved to {saved} instead") from error
    return path


RUN_FACTS = (
    *("model", "plugin", "params", "dataset", "metrics", "train_config", "seed", "device", "threads", "versions"),
    *("init", "frozen"),
)
"""What the weights file of a run says as its record does."""
