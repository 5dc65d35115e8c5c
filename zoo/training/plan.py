"""Plan: what a run is about to do, every name resolved and every setting checked, nothing loaded yet."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from zoo.data.ranks import ALONE, Ranks
from zoo.errors import ErrorCollector, SettingError, ZooError, one_line, quote, show
from zoo.models.device import resolve_device
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.entries import Entry, Registry
from zoo.registry.factories import load_factory
from zoo.registry.fields import check_plain
from zoo.registry.params import resolve_params
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import CROSS_ENTROPY, TrainConfig, resolve_config
from zoo.registry.specs import DatasetSpec, LoggerSpec, LossSpec, MetricSpec, ModelSpec, RecipeSpec
from zoo.training import course
from zoo.training.choice import check_unvalidated, make_choice
from zoo.training.compiled import check_compiler
from zoo.training.objective import check_loss, name_objective
from zoo.training.optimizers import check_optimizer
from zoo.training.precision import check_precision
from zoo.training.schedules import check_schedule, check_steps

log = logging.getLogger("zoo")

DEFAULT_METRICS = ("accuracy",)
MAX_PARAM = 100_000
"""Bytes of a param as JSON: a weights file holds a megabyte of metadata, and more to say than that."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted by name, as the arguments of `zoo.run` say it, a config file, or a recipe.

    None means that it is not said. `source` is what says it, in words. What several sources want together has them as
    `sources`, the weakest first, and its own `recipe`; see `zoo.training.sources`. `trains` says whether the settings
    of a training are to be used, so that their device must be able to.
    """

    source: str = "given"
    model: str | None = None
    dataset: str | None = None
    init: str | Path | None = None
    freeze: Sequence[str] | None = None
    metrics: str | Sequence[str] | None = None
    params: Mapping[str, Any] | None = None
    dataset_params: Mapping[str, Any] | None = None
    metric_params: Mapping[str, Mapping[str, Any]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    course_style: bool = False
    trains: bool = True
    sources: tuple[Wanted, ...] = ()
    recipe: Entry[RecipeSpec] | None = None
    log: str | Sequence[str] | None = None
    log_params: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def levels(self) -> list[Mapping[str, Any]]:
        """The settings of each source, the weakest first."""
        return [source.settings for source in self.sources] or [self.settings]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is about to do: every name resolved, every setting checked, nothing loaded yet.

    `changed` names what differs from the `recipe`. `loss` is None for cross-entropy, which is torch's own. `ranks` are
    the processes that train together.
    """

    model: Entry[ModelSpec]
    dataset: Entry[DatasetSpec]
    metrics: dict[str, Entry[MetricSpec]]
    params: dict[str, Any]
    dataset_params: dict[str, Any]
    metric_params: dict[str, dict[str, Any]]
    given_params: bool
    given_dataset_params: bool
    config: TrainConfig
    device: torch.device
    loss: Entry[LossSpec] | None = None
    course_style: bool = False
    recipe: Entry[RecipeSpec] | None = None
    changed: tuple[str, ...] = ()
    loggers: dict[str, Entry[LoggerSpec]] = field(default_factory=dict)
    logger_params: dict[str, dict[str, Any]] = field(default_factory=dict)
    ranks: Ranks = ALONE


def make_plan(wanted: Wanted, registry: Registry) -> Plan:
    """Resolve names, params and settings and check the declared shapes; raise every problem found as one ZooError."""
    errors = ErrorCollector()
    found: dict[str, Any] = {"metrics": {}, "metric_params": {}, "loggers": {}, "logger_params": {}}
    asked = DEFAULT_METRICS if wanted.metrics is None else wanted.metrics
    metrics = [asked] if isinstance(asked, str) else list(dict.fromkeys(asked))
    metric_params = wanted.metric_params or {}
    with errors.catch():
        found["model"] = registry.get("model", str(wanted.model))
    with errors.catch():
        found["dataset"] = registry.get("dataset", str(wanted.dataset))
    for name in metrics:
        with errors.catch():
            found["metrics"][name] = registry.get("metric", name)
    with errors.catch():
        found["config"] = _resolve_settings(found.get("model"), wanted.levels)
        found["device"] = resolve_device(found["config"].device)
    if "device" in found and wanted.trains:
        with errors.catch():
            check_precision(found["config"], found["device"])
            check_compiler(found["config"], found["device"])
    if "config" in found:
        with errors.catch():
            found["config"] = canonise(found["config"])
        with errors.catch():
            check_schedule(found["config"])
        with errors.catch():
            found["config"] = check_optimizer(found["config"])
        with errors.catch():
            found |= _find_loss(found["config"], registry, None if wanted.dataset_params else found.get("dataset"))
    for kind, params in (("model", "params"), ("dataset", "dataset_params")):
        if kind in found:
            with errors.catch():
                found[params] = read_params(found[kind], getattr(wanted, params))
    for name in metric_params:
        if name not in metrics:
            errors.errors.append(SettingError(f"metric param of {quote(name)}", "that metric is not part of this run"))
    for name, entry in found["metrics"].items():
        with errors.catch():
            found["metric_params"][name] = read_params(entry, metric_params.get(name))
    _find_loggers(wanted, registry, found, errors)
    if "model" in found and "dataset_params" in found and not _is_other(found, "dataset"):
        declared = found["dataset"].spec.input_shape
        if declared is not None:
            with errors.catch():
                size = found["config"].input_size if "config" in found else None
                adapt_preprocess(found["model"].spec, found["dataset"].name, declared, Preprocess(), size)
    if "config" in found and "dataset_params" in found and wanted.trains and not _is_other(found, "dataset"):
        with errors.catch():
            _check_declared(found)
    if wanted.course_style and course.NAME in metrics:
        errors.errors.append(SettingError("course_style", f"a metric of this run is called {course.NAME!r} already"))
    errors.raise_any()
    return Plan(
        given_params=_is_other(found, "model"),
        given_dataset_params=_is_other(found, "dataset"),
        course_style=wanted.course_style,
        recipe=wanted.recipe,
        **found,
    )


def _check_declared(found: Mapping[str, Any]) -> None:
    """Check by the samples that the data set declares what else is found only when they are loaded.

    Raises:
        SettingError, SeveralErrors: settings for a validation split and none, or more steps than there can be.
    """
    config, samples = found["config"], found["dataset"].spec.samples
    if "train" not in samples:
        return
    errors = ErrorCollector()
    with errors.catch():
        if config.validation or "validation" in samples:
            make_choice(config, name_objective(found.get("loss"), found["metrics"]), list_directions(found["metrics"]))
        else:
            check_unvalidated(config)
    with errors.catch():
        check_steps(config, -(-samples["train"] // config.batch_size))
    errors.raise_any()


def list_directions(metrics: Mapping[str, Entry[MetricSpec]]) -> dict[str, bool]:
    """Return of each metric whether more of it is better."""
    return {name: entry.spec.higher_is_better for name, entry in metrics.items()}


def _find_loggers(wanted: Wanted, registry: Registry, found: dict[str, Any], errors: ErrorCollector) -> None:
    names, given = [wanted.log] if isinstance(wanted.log, str) else wanted.log or (), wanted.log_params or {}
    for name in dict.fromkeys(names):
        with errors.catch():
            entry = registry.get("logger", name)
            found["logger_params"][name] = read_params(entry, given.get(name))  # its package must be here for that
            found["loggers"][name] = entry
    for name in given:
        if name not in names:
            errors.errors.append(SettingError(f"log param of {quote(name)}", "that logger is not part of this run"))


def _is_other(found: Mapping[str, Any], kind: str) -> bool:
    """Tell whether params were given that are not those which an entry has of itself."""
    params = found["params" if kind == "model" else "dataset_params"]
    try:
        return bool(params != read_params(found[kind], None))
    except ZooError:  # it has params without a default
        return True


def canonise(config: TrainConfig) -> TrainConfig:
    """Return settings with the operations of augmentation as text of one form, whatever they were given as.

    Refuse those that are not known; nothing is imported where there are none.
    """
    if config.augment == TrainConfig.augment:
        return config
    from zoo.data.augment import parse

    return replace(config, augment=str(parse(config.augment)))


def _find_loss(config: TrainConfig, registry: Registry, dataset: Entry[DatasetSpec] | None) -> dict[str, Any]:
    """Return the loss of the settings, and the settings with the name that always means it and with all its params."""
    loss = None if config.loss == CROSS_ENTROPY else registry.get("loss", config.loss)
    check_loss(loss, config, dataset.spec.num_classes if dataset else None)
    if loss is not None:
        params = read_params(loss, config.loss_params)
        config = replace(config, loss=loss.short_name, loss_params=params or None)
    return {"loss": loss, "config": config}


def _resolve_settings(model: Entry[ModelSpec] | None, levels: Sequence[Mapping[str, Any]]) -> TrainConfig:
    """Return the settings, what the model recommends the weakest; raise PluginError where that is what is wrong."""
    recommended = model.spec.train if model else {}
    try:
        return resolve_config(recommended, *levels)
    except ZooError:
        try:
            resolve_config(recommended)
        except ZooError as error:
            if model:
                raise model.plugin.broken(f"model {quote(model.name)}: train", one_line(str(error))) from error
        raise


def read_params(entry: Entry[Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return all params of an entry, the given ones and its own; raise every problem found as one ZooError."""
    params = resolve_params(entry.spec, load_factory(entry), given or {})
    for name, value in params.items():
        try:
            check_plain(name, value)
            size = len(json.dumps(value))
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # raises for half of a surrogate pair, as of a wrong argument
        except (TypeError, ValueError):
            kinds = "plain data of 64 bits that a file can hold, so that the weights can be rebuilt from it"
            raise SettingError(name, f"must be {kinds}, got {show(value)}") from None
        if size > MAX_PARAM:
            raise SettingError(name, f"must be at most {MAX_PARAM} bytes as JSON, got {size}")
    return params
