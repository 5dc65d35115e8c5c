"""Decorators: attach a spec to a factory. `--plugin` or an entry point registers it; importing the file does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from zoo.registry.specs import (
    SPEC_ATTRIBUTE,
    DatasetSpec,
    Factory,
    LoggerSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    Spec,
    WeightsSpec,
)

F = TypeVar("F", bound=Factory)


def _attach(
    spec_class: Callable[..., Spec | WeightsSpec], declared: dict[str, Any], key: str = "factory"
) -> Callable[[F], F]:
    def decorate(factory: F) -> F:
        spec = spec_class(**{key: factory, **declared})
        # vars() leaves out inherited specs: a derived class does not declare again what its base class declares.
        setattr(factory, SPEC_ATTRIBUTE, (*vars(factory).get(SPEC_ATTRIBUTE, ()), spec))
        return factory

    return decorate


def model(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `ModelSpec` to a factory of a plugin file or module. Importing it registers nothing."""
    return _attach(ModelSpec, {"name": name, **declared})


def dataset(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `DatasetSpec` to a factory of a plugin file or module. Importing it registers nothing."""
    return _attach(DatasetSpec, {"name": name, **declared})


def metric(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `MetricSpec` to a factory of a plugin file or module. Importing it registers nothing."""
    return _attach(MetricSpec, {"name": name, **declared})


def loss(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `LossSpec` to a factory of a plugin file or module. Importing it registers nothing."""
    return _attach(LossSpec, {"name": name, **declared})


def logger(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `LoggerSpec` to a factory of a plugin file or module. Importing it registers nothing."""
    return _attach(LoggerSpec, {"name": name, **declared})


def weights(*, name: str, model: str, dataset: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `WeightsSpec` to a loader of a plugin file or module. Importing it registers nothing."""
    return _attach(WeightsSpec, {"name": name, "model": model, "dataset": dataset, **declared}, "loader")
