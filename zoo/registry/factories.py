"""Factories: build what entries declare, with the arguments that the contract fixes for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.errors import OutOfMemoryError, PluginError, UsageError, ZooError, describe, is_out_of_memory, quote, shorten
from zoo.registry.entries import Entry
from zoo.registry.imports import import_object
from zoo.registry.params import FIXED, find_expected
from zoo.registry.plugins import blame

if TYPE_CHECKING:
    from torch import nn

    from zoo.registry.metric import Metric

_GIVES = {
    "model": "Decorate a class or function that takes them and gives the nn.Module",
    "dataset": "Decorate a function that takes it and gives zoo.DataSplits",
    "metric": "Decorate a class or function that takes it and gives an object with update, compute and reset",
    "loss": "Decorate a class or function that takes it and gives a callable of logits and targets",
    "logger": "Decorate a class or function that takes it and gives an object that hears of the run",
}
"""What to do where the factory of a kind cannot be called as zoo calls it."""


def load_factory(entry: Entry[Any]) -> Callable[..., Any]:
    """Import the factory of an entry, one that can be called with what the contract fixes for its kind.

    Raises:
        ZooError: what the module raises in zoo's own words.
        PluginError: the import fails, or what it names cannot be called, or not with these arguments.
    """
    factory = import_factory(entry)
    kind, wanted = entry.spec.kind, FIXED[entry.spec.kind]
    taken, takes_others = find_expected(factory)
    if not takes_others and any(name not in taken for name in wanted):
        asked = " and ".join(f"{name}=..." for name in wanted)
        own = getattr(factory, "__name__", type(factory).__name__)
        why = f"expected a factory that is called with {asked}, got {shorten(own)}({', '.join(taken)})"
        raise entry.plugin.broken(f"{kind} {quote(entry.name)}", why, _GIVES[kind])
    return factory


def import_factory(entry: Entry[Any]) -> Callable[..., Any]:
    """Import the factory of an entry, whatever arguments it takes.

    Raises:
        ZooError: what the module raises in zoo's own words.
        PluginError: the import fails, or what it names cannot be called.
    """
    factory: Any = entry.spec.factory
    if isinstance(factory, str):
        source = entry.plugin.source
        beside = source if isinstance(source, Path) and not entry.plugin.installed else None
        what = f"{entry.spec.factory} cannot be loaded"
        with blame(entry.plugin.name, entry.plugin.version, what), entry.plugin.importing():
            factory = import_object(factory, beside)
    if not callable(factory):
        raise entry.plugin.broken(f"{entry.spec.factory} is not a factory", f"expected a callable, got {factory!r}")
    return cast("Callable[..., Any]", factory)


def build_model(
    entry: Entry[Any], *, input_shape: tuple[int, ...], num_classes: int, params: Mapping[str, Any]
) -> nn.Module:
    """Build a model: from inputs `(N, *input_shape)` to logits `(N, num_classes)`.

    Raises:
        PluginError: the factory fails or gives something else than an `nn.Module` with parameters.
    """
    from torch import nn

    model = call_factory(entry, input_shape=input_shape, num_classes=num_classes, **params)
    if not isinstance(model, nn.Module):
        raise entry.plugin.broken(f"model {quote(entry.name)}", f"expected an nn.Module, got {_name(model)}")
    with entry.blamed("has no usable parameters"):
        empty = next(iter(model.parameters()), None) is None
    if empty:
        raise entry.plugin.broken(f"model {quote(entry.name)}", "it has no parameters, so there is nothing to train")
    _fill_lazy(entry, model, input_shape)
    return model


def _fill_lazy(entry: Entry[Any], model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Give lazy layers, which take their shape from the first input, that of a batch of zeros."""
    import torch
    from torch.nn.parameter import is_lazy

    if any(is_lazy(value) for value in (*model.parameters(), *model.buffers())):
        model.eval()
        with entry.plugin.blamed(f"model {quote(entry.name)} has lazy layers"), torch.no_grad():
            model(torch.zeros(2, *input_shape))
        model.train()
        if left := [name for name, value in model.named_parameters() if is_lazy(value)]:
            raise entry.plugin.broken(f"model {quote(entry.name)}", f"parameter {quote(left[0])} is never used")


def build_metric(entry: Entry[Any], *, num_classes: int, params: Mapping[str, Any]) -> Metric:
    """Build a metric; raise PluginError where the factory fails or gives none with `update`, `compute` and `reset`."""
    metric = call_factory(entry, num_classes=num_classes, **params)
    if isinstance(metric, type):
        why = f"expected an object with update, compute and reset, got {_name(metric)}"
        raise entry.plugin.broken(f"metric {quote(entry.name)}", why)
    with entry.blamed("cannot be used"):
        missing = [name for name in ("update", "compute", "reset") if not callable(getattr(metric, name, None))]
    if missing:
        why = f"expected update, compute and reset, lacks {missing[0]}"
        raise entry.plugin.broken(f"metric {quote(entry.name)}", why)
    return cast("Metric", metric)


LOGGER_METHODS = ("run_started", "epoch_finished", "run_finished")
"""What a callback or a logger may have; one of them it must."""


def build_logger(entry: Entry[Any], *, run_dir: Path, params: Mapping[str, Any]) -> object:
    """Build a logger for a run; raise PluginError where the factory fails or gives an object that hears nothing."""
    logger = call_factory(entry, run_dir=run_dir, **params)
    with entry.blamed("cannot be used"):
        hears = any(callable(getattr(logger, name, None)) for name in LOGGER_METHODS)
    if not hears:
        why = f"expected an object with any of {', '.join(LOGGER_METHODS)}, got {type(logger).__name__}"
        raise entry.plugin.broken(f"logger {quote(entry.name)}", why)
    return cast("object", logger)


def build_loss(entry: Entry[Any], *, num_classes: int, params: Mapping[str, Any]) -> Callable[..., Any]:
    """Build a loss; raise PluginError where the factory fails or gives nothing that can be called."""
    loss = call_factory(entry, num_classes=num_classes, **params)
    if not callable(loss) or isinstance(loss, type):
        why = f"expected a callable of logits and targets, got {_name(loss)}"
        raise entry.plugin.broken(f"loss {quote(entry.name)}", why)
    return cast("Callable[..., Any]", loss)


def _name(given: object) -> str:
    """Return what a factory gave, in words; of a class, how an object of it is made."""
    if isinstance(given, type):
        return f"the class {shorten(given.__name__)} itself: return {shorten(given.__name__)}(...)"
    return "None: it returns nothing" if given is None else shorten(type(given).__name__)


def call_factory(entry: Entry[Any], **arguments: Any) -> Any:
    """Call the factory of an entry.

    Raises:
        ZooError: what the factory raises in zoo's own words.
        OutOfMemoryError: memory ran out, or no memory could hold what was asked for.
        PluginError: it cannot be loaded, or fails in another way.
    """
    factory = load_factory(entry)
    try:
        guard = entry.plugin.guarded(f"while {entry.spec.kind} {quote(entry.name)} was built")
        with entry.blamed("cannot be built"), guard:
            return factory(**arguments)
    except ZooError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what, fix = f"{entry.spec.kind} {quote(entry.name)}", f"See its params: zoo show {entry.short_name}"
        raise OutOfMemoryError(f"not enough memory for {what}", describe(error), fix) from error


@contextmanager
def refuse_params(given: bool) -> Iterator[None]:
    """Turn a factory's ValueError into a usage error when params were given, because it refuses one of them."""
    try:
        yield
    except PluginError as error:
        if given and isinstance(error.__cause__, ValueError):
            raise UsageError(error.failed, str(error.__cause__)) from error
        raise
