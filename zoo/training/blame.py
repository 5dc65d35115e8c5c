"""Blame: errors of a training, told as what they are to the user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from zoo.data.workers import name_dead_worker
from zoo.errors import (
    DeviceFaultError,
    OutOfMemoryError,
    ZooError,
    describe,
    is_device_fault,
    is_out_of_memory,
    quote,
)
from zoo.records.history import Epoch
from zoo.registry.entries import Entry
from zoo.registry.global_state import put_back, read_state, warn_of_changes
from zoo.registry.specs import ModelSpec
from zoo.training.plan import Plan
from zoo.training.progress import Progress

T = TypeVar("T")
OnEpoch = Callable[[Epoch], None]


def note_errors(on_epoch: OnEpoch | None, noted: list[BaseException]) -> OnEpoch | None:
    """Return a function of the caller so that what it raises is noted: it is no error of a plugin."""

    def call(epoch: Epoch) -> None:
        try:
            if on_epoch is not None:
                on_epoch(epoch)
        except BaseException as error:
            noted.append(error)
            raise

    return on_epoch and call


@contextmanager
def blame_plugin(model: Entry[ModelSpec], dataset: str, callers: Collection[BaseException] = ()) -> Iterator[None]:
    """Tell an error of the body as one of the plugin that provides the model; those of `callers` go through.

    The death of a worker process that reads the data set is told as that. Of zoo's own models only what would end a
    program counts as an error of the plugin, SystemExit say: their other errors are our bugs.
    """
    try:
        with name_dead_worker(dataset):
            yield
    except BaseException as error:
        if error in callers or (model.is_first_party and isinstance(error, Exception)):
            raise
        with model.blamed("failed"):
            raise


def watching(show: Progress, plan: Plan) -> Progress:
    """Return a display that also looks after the global state: what a step changes is put back and warned of.

    It looks after the first batch of each pass and after the last, and adds nothing to those between: a step that
    changes something again is put right once a pass.
    """
    entries: list[Entry[Any]] = [plan.model, plan.dataset, *plan.metrics.values(), *([plan.loss] if plan.loss else [])]
    suspects = [entry.plugin for entry in entries if not entry.is_first_party]
    names = dict.fromkeys(quote(plugin.label) for plugin in suspects)
    who = f"plugin {' or '.join(names)}" if names else "something"
    told: set[str] = set()

    def report(changed: Mapping[str, str], when: str) -> None:
        told.update(*(plugin.told for plugin in suspects))
        warn_of_changes(changed, who, when, told)

    def watch(
        items: Iterable[T], *, total: int, description: str, status: Callable[[], str] | None = None
    ) -> Iterator[T]:
        before = read_state()
        passed = iter(show(items, total=total, description=description, status=status))
        for first in passed:
            yield first
            break
        report(put_back(before), f"during {description}")
        yield from passed
        report(put_back(before), f"during {description}")

    return watch


@contextmanager
def name_device(plan: Plan) -> Iterator[None]:
    """Name the device where it fails in the body, and where its memory runs out the batch size too."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        if is_device_fault(error):
            raise DeviceFaultError(error, str(plan.device)) from error
        if not is_out_of_memory(error):
            raise
        size = plan.config.batch_size
        what = f"not enough memory on {plan.device} for model {quote(plan.model.name)} and batches of {size}"
        fix = f"Try batch_size={max(1, size // 4)}" if size > 1 else "Try a smaller model"
        raise OutOfMemoryError(what, describe(error), fix) from error
