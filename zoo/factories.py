"""Factories: the calls that build what entries declare, with the arguments fixed for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.errors import PluginError, ZooError, describe, is_out_of_memory, quote
from zoo.modules import import_object
from zoo.registry import Entry

if TYPE_CHECKING:
    from torch import nn

    from zoo.data import DataSplits
    from zoo.metrics import Metric


def load_factory(entry: Entry[Any]) -> Callable[..., Any]:
    """Import the factory of an entry.

    Raises:
        ZooError: what the module raises in zoo's own words.
        PluginError: the import fails, or what it names cannot be called.
    """
    factory: Any = entry.spec.factory
    if isinstance(factory, str):
        source = entry.plugin.source
        try:
            factory = import_object(
                factory, source if not entry.plugin.installed and isinstance(source, Path) else None
            )
        except (ZooError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _failed(entry, f"{entry.spec.factory} cannot be loaded", describe(error)) from error
    if not callable(factory):
        raise _failed(entry, f"{entry.spec.factory} is not a factory", f"expected a callable, got {factory!r}")
    return cast("Callable[..., Any]", factory)


def build_model(
    entry: Entry[Any], *, input_shape: tuple[int, ...], num_classes: int, params: Mapping[str, Any]
) -> nn.Module:
    """Build a model: from inputs `(N, *input_shape)` to logits `(N, num_classes)`.

    Raises:
        PluginError: the factory fails or gives something else than an `nn.Module` with parameters.
    """
    from torch import nn

    model = _call(entry, input_shape=input_shape, num_classes=num_classes, **params)
    if not isinstance(model, nn.Module):
        raise _failed(entry, f"model {quote(entry.name)}", f"expected an nn.Module, got {type(model).__name__}")
    if next(model.parameters(), None) is None:
        raise _failed(entry, f"model {quote(entry.name)}", "it has no parameters, so there is nothing to train")
    return model


def build_dataset(entry: Entry[Any], *, root: Path, params: Mapping[str, Any]) -> DataSplits:
    """Build a data set from the files under `root`.

    Raises:
        ZooError: what the factory raises in zoo's own words, a DataError say.
        PluginError: the factory fails otherwise or gives something else than `DataSplits`.
    """
    from zoo.data import DataSplits

    splits = _call(entry, root=root, **params)
    if not isinstance(splits, DataSplits):
        raise _failed(entry, f"dataset {quote(entry.name)}", f"expected zoo.DataSplits, got {type(splits).__name__}")
    return splits


def build_metric(entry: Entry[Any], *, num_classes: int, params: Mapping[str, Any]) -> Metric:
    """Build a metric for `num_classes` classes.

    Raises:
        PluginError: the factory fails, or gives something without `update`, `compute` and `reset`.
    """
    metric = _call(entry, num_classes=num_classes, **params)
    missing = [name for name in ("update", "compute", "reset") if not callable(getattr(metric, name, None))]
    if missing:
        raise _failed(entry, f"metric {quote(entry.name)}", f"expected update, compute and reset, lacks {missing[0]}")
    return cast("Metric", metric)


def _call(entry: Entry[Any], **arguments: Any) -> Any:
    factory = load_factory(entry)
    try:
        return factory(**arguments)
    except (ZooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        raise _failed(entry, f"{entry.spec.kind} {quote(entry.name)} cannot be built", describe(error)) from error


def _failed(entry: Entry[Any], what: str, cause: str) -> PluginError:
    return entry.plugin.broken(what, cause)
