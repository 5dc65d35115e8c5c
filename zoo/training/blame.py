"""Blame: errors of a training, told as what they are to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoo.data.batches import name_dead_worker
from zoo.errors import OutOfMemoryError, ZooError, describe, is_out_of_memory, quote
from zoo.registry.entries import Entry
from zoo.registry.specs import ModelSpec
from zoo.training.plan import Plan


@contextmanager
def blame_plugin(model: Entry[ModelSpec], dataset: str) -> Iterator[None]:
    """Tell an error of the body as one of the plugin that provides the model, unless it is zoo's own or a worker's."""
    try:
        with name_dead_worker(dataset):
            yield
    except ZooError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or model.is_first_party:
            raise
        raise model.plugin.broken(f"training model {quote(model.name)} failed", describe(error)) from error


@contextmanager
def name_memory(plan: Plan) -> Iterator[None]:
    """Name the device and the batch size where memory runs out in the body."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size = plan.config.batch_size
        what = f"not enough memory on {plan.device} for model {quote(plan.model.name)} and batches of {size}"
        fix = f"Try --batch-size {max(1, size // 4)}" if size > 1 else "Try a smaller model"
        raise OutOfMemoryError(what, describe(error), fix) from error
