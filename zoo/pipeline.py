"""Run: where the registry and the trainer meet. From names and settings to a trained, evaluated, saved model."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo
from zoo import runs, storage, weights
from zoo.batches import Batches, make_batches
from zoo.compatibility import adapt_preprocess, check_model
from zoo.data import DataSplits, count_samples, find_digest, find_input_shape
from zoo.device import choose_threads, count_flop, describe_device, use_seed, use_threads
from zoo.errors import (
    DataError,
    DivergedError,
    OutOfMemoryError,
    PluginError,
    StorageError,
    ZooError,
    describe,
    is_out_of_memory,
    quote,
)
from zoo.metrics import Metric
from zoo.plan import Plan, check_claims, fetch_dataset, load_splits, make_plan, refusals
from zoo.preprocess import Preprocess
from zoo.progress import bar, no_progress
from zoo.registry import Entry, Registry, build_metric, build_model
from zoo.runs import RunResult
from zoo.trainer import Epoch, Trainer, evaluate

log = logging.getLogger("zoo")

MAX_TEST_BATCH = 1024
TEST_BATCH_ELEMENTS = 1 << 20
"""Evaluation keeps no activations for a backward pass, so its batches may be larger than those of training: up to 1024
samples or a million input values, whichever is less. Neither counts nor losses depend on it."""


def run(
    model: str = "baseline",
    dataset: str = "shapes",
    *,
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
    **settings: Any,
) -> RunResult:
    """Train a registered model on a registered data set, evaluate it after each epoch and save its weights.

    `settings` are the fields of `TrainConfig`: epochs, batch_size, lr, optimizer, momentum, weight_decay, seed, device,
    threads, workers. What is not given comes from the model's recommendation, then from the defaults. The thread count
    and the random state of the caller stay as they are.

    Raises:
        ZooError: see `zoo.errors`; all problems with names, params and settings are found before anything is loaded.
    """
    registry = registry or Registry.discover(plugins)
    chosen = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    plan = make_plan(
        registry, model, dataset, chosen, params or {}, dataset_params or {}, metric_params or {}, settings
    )
    folder = storage.runs_dir(runs_dir)
    storage.check_writable(folder, fix="Choose another folder with --runs-dir")
    root = storage.data_dir(data_dir)
    with use_seed(plan.config.seed), use_threads(plan.config.threads or 1), _out_of_memory(plan):
        return _run(plan, folder, root, storage.offline(offline), progress, on_epoch)


def fetch(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Path:
    """Fetch and verify the files of a data set; return the data folder they are in.

    Raises:
        UnknownNameError, DataError, DownloadError, StorageError.
    """
    entry = (registry or Registry.discover(plugins)).get("dataset", dataset)
    root = storage.data_dir(data_dir)
    fetch_dataset(entry, root, offline=storage.offline(offline))
    return root


def _run(
    plan: Plan, folder: Path, root: Path, offline: bool, progress: bool, on_epoch: Callable[[Epoch], None] | None
) -> RunResult:
    config = plan.config
    splits = load_splits(plan, root, offline=offline)
    classes = len(splits.class_names)
    raw_shape = find_input_shape(plan.dataset.name, splits)
    check_claims(plan, splits, raw_shape)
    declared = splits.preprocess or Preprocess()
    preprocess, adapted = adapt_preprocess(plan.model.spec, plan.dataset.name, raw_shape, declared)
    for note in adapted:
        log.info("adapted the data to %s: %s", plan.model.name, note)
    input_shape = preprocess.output_shape(raw_shape)

    torch.manual_seed(config.seed)  # again: loading the data may have drawn numbers
    with refusals(plan.given_params):
        model = build_model(plan.model, input_shape=input_shape, num_classes=classes, params=plan.params)
    model.to(plan.device)
    check_model(
        model,
        name=plan.model.name,
        dataset=plan.dataset.name,
        input_shape=input_shape,
        num_classes=classes,
        device=plan.device,
    )
    metrics = {
        name: _on_device(build_metric(entry, num_classes=classes, params=plan.metric_params[name]), plan.device)
        for name, entry in plan.metrics.items()
    }
    flop = count_flop(model, input_shape, plan.device) * config.batch_size if plan.device.type == "cpu" else 0
    threads = choose_threads(flop, config.threads)
    torch.set_num_threads(threads)
    train, test = _make_batches(plan, splits, model, preprocess, input_shape)

    record: dict[str, Any] = {
        "status": "running",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "model": plan.model.name,
        "plugin": _describe_plugin(plan.model),
        "params": plan.params,
        "dataset": {
            "name": plan.dataset.name,
            "plugin": _describe_plugin(plan.dataset),
            "params": plan.dataset_params,
            "digest": find_digest(splits),
            "samples": {name: count_samples(split) for name, split in splits.items()},
        },
        "metrics": {},
        "metric_plugins": {name: _describe_plugin(entry) for name, entry in plan.metrics.items()},
        "metric_params": plan.metric_params,
        "train_config": config.model_dump(),
        "adapted": adapted,
        "seed": config.seed,
        "device": str(plan.device),
        "device_name": describe_device(plan.device),
        "threads": threads,
        "versions": {"zoo": zoo.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        "history": [],
    }
    run_folder = runs.create_run(folder, plan.model.name, plan.dataset.name)
    runs.save_record(run_folder, record)
    trainer = Trainer(model, config, plan.device, metrics, show=bar if progress else no_progress, on_epoch=on_epoch)
    started = time.perf_counter()
    try:
        history = _fit(trainer, train, test, plan)
        if history:
            scores = history[-1]["test"]
        else:
            log.info("0 epochs: the model is evaluated untrained")
            scores = evaluate(model, test, metrics, show=trainer.show)
    except BaseException as error:
        _save_failure(run_folder, {**record, "history": trainer.history}, error)
        done = len(trainer.history)
        error.add_note(f"{done} of {config.epochs} epochs are recorded in {run_folder}; no weights were saved.")
        raise
    seconds = time.perf_counter() - started
    record |= {"status": "finished", "history": history, "metrics": scores, "seconds": seconds}
    path = _save_weights(run_folder, model, record, input_shape, splits, preprocess)
    runs.save_record(run_folder, record)
    return RunResult(
        run=run_folder,
        weights=path,
        model=plan.model.name,
        dataset=plan.dataset.name,
        device=str(plan.device),
        threads=threads,
        seed=config.seed,
        params=plan.params,
        dataset_params=plan.dataset_params,
        train_config=config.model_dump(),
        metrics=scores,
        history=history,
        seconds=seconds,
    )


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


def _on_device(metric: Metric, device: torch.device) -> Metric:
    """Move a metric that keeps its state in tensors of its own, as those of TorchMetrics do."""
    if device.type != "cpu" and hasattr(metric, "to"):
        metric.to(device)
    return metric


def _make_batches(
    plan: Plan, splits: DataSplits, model: nn.Module, preprocess: Preprocess, input_shape: tuple[int, ...]
) -> tuple[Batches, Batches]:
    config, samples = plan.config, count_samples(splits.train)
    name = quote(plan.dataset.name)
    # Batch normalisation has no variance for one sample.
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normalised and min(samples, config.batch_size) == 1:
        raise DataError(
            f"model {quote(plan.model.name)} normalises over the batch",
            "a training batch of one sample has no variance",
        )
    if normalised and samples % config.batch_size == 1:
        log.info("the last training batch would hold one sample; it joins the batch before")
    if config.epochs and config.batch_size > samples:
        log.warning("dataset %s has %d training samples, so a batch holds %d", name, samples, samples)
    elements = max(1, torch.Size(input_shape).numel())
    test_batch = max(config.batch_size, min(MAX_TEST_BATCH, TEST_BATCH_ELEMENTS // elements))
    shared: dict[str, Any] = {
        "name": plan.dataset.name,
        "num_classes": len(splits.class_names),
        "device": plan.device,
        "workers": config.workers,
        "loader_seed": config.seed,
    }
    train = make_batches(
        splits.train,
        preprocess,
        batch_size=config.batch_size,
        shuffle_seed=config.seed,
        merge_single=normalised,
        **shared,
    )
    return train, make_batches(splits.test, preprocess, batch_size=test_batch, **shared)


def _fit(trainer: Trainer, train: Batches, test: Batches, plan: Plan) -> list[Epoch]:
    try:
        return trainer.fit(train, test)
    except ZooError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or plan.model.is_first_party:
            raise
        plugin = plan.model.plugin
        what = f"training model {quote(plan.model.name)} failed"
        raise PluginError(plugin.name, plugin.version, what, describe(error)) from error


def _describe_plugin(entry: Entry[Any]) -> dict[str, str]:
    plugin = entry.plugin
    source = plugin.source if plugin.given and isinstance(plugin.source, Path) else "installed"
    return {"name": plugin.name, "version": plugin.version, "source": str(source)}


def _save_failure(folder: Path, record: Mapping[str, Any], error: BaseException) -> None:
    """Keep the history of a run that ended early; there are no weights. The error itself goes on to the caller."""
    named = {KeyboardInterrupt: "interrupted", DivergedError: "diverged"}
    status = next((name for kind, name in named.items() if isinstance(error, kind)), "failed")
    try:
        runs.save_record(folder, {**record, "status": status, "error": describe(error)})
    except StorageError as problem:
        log.warning("%s", problem)


def _save_weights(
    folder: Path,
    model: nn.Module,
    record: Mapping[str, Any],
    input_shape: tuple[int, ...],
    splits: DataSplits,
    preprocess: Preprocess,
) -> Path:
    shared = (
        "model",
        "plugin",
        "params",
        "dataset",
        "metrics",
        "train_config",
        "seed",
        "device",
        "threads",
        "versions",
    )
    metadata = {name: record[name] for name in shared} | {
        "input_shape": list(input_shape),
        "class_names": list(splits.class_names),
        "preprocess": preprocess.to_dict(),
    }
    metadata = runs.to_json_data(metadata)
    path = folder / weights.FILE_NAME
    try:
        weights.save_weights(path, model, metadata)
    except StorageError as error:
        # The training is done and its result must not be lost with the folder or the disk it was meant for.
        rescue = storage.zoo_home() / "rescued"
        saved = storage.create_folder(rescue, folder.name) / weights.FILE_NAME
        weights.save_weights(saved, model, metadata)
        raise StorageError(error.what, error.why, f"The weights were saved to {saved} instead") from error
    return path
