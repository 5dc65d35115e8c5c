"""Hooks: functions of a plugin that yield specs and take no arguments.

A plugin module implements them with `@zoo.hookimpl`; a manifest is the same as data (see `zoo.registry.manifest`).
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from zoo.registry.specs import DatasetSpec, LoggerSpec, LossSpec, MetricSpec, ModelSpec, RecipeSpec, WeightsSpec

PROJECT = "zoo"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zoo_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Yield the models this plugin provides."""


@hookspec
def zoo_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Yield the data sets this plugin provides."""


@hookspec
def zoo_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Yield the metrics this plugin provides."""


@hookspec
def zoo_losses() -> Iterable[LossSpec]:  # type: ignore[empty-body]
    """Yield the losses this plugin provides."""


@hookspec
def zoo_loggers() -> Iterable[LoggerSpec]:  # type: ignore[empty-body]
    """Yield the loggers this plugin provides."""


@hookspec
def zoo_recipes() -> Iterable[RecipeSpec]:  # type: ignore[empty-body]
    """Yield the recipes this plugin provides."""


@hookspec
def zoo_weights() -> Iterable[WeightsSpec]:  # type: ignore[empty-body]
    """Yield the trained weights this plugin provides."""


HOOKS = {
    **{"model": "zoo_models", "dataset": "zoo_datasets", "metric": "zoo_metrics", "loss": "zoo_losses"},
    **{"logger": "zoo_loggers", "recipe": "zoo_recipes", "weights": "zoo_weights"},
}
"""The hook of each kind."""
