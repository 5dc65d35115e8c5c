"""Blame: errors of a model that was rebuilt from a file, told as what they are to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoo.errors import (
    DeviceFaultError,
    OutOfMemoryError,
    PluginError,
    WeightsError,
    ZooError,
    describe,
    is_device_fault,
    is_out_of_memory,
    quote,
)
from zoo.records.metadata import WeightsMetadata
from zoo.registry.compatibility import show_shape
from zoo.registry.plugins import FIRST_PARTY


@contextmanager
def blame_model(weights: WeightsMetadata) -> Iterator[None]:
    """Tell an error of the body, even SystemExit, as one of the model that these weights are of.

    A model of zoo's own works, so the file says something that it cannot be built for; another one may be broken.

    Raises:
        OutOfMemoryError: memory ran out.
        DeviceFaultError: the device failed.
        WeightsError, PluginError: the model failed; ZooErrors pass as they are.
    """
    try:
        yield
    except (ZooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        name, plugin = quote(weights.model), weights.plugin
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"not enough memory for model {name}", describe(error)) from error
        if is_device_fault(error):
            raise DeviceFaultError(error) from error
        what = f"model {name} fails on inputs of {show_shape(weights.input_shape)}"
        if plugin.name == FIRST_PARTY:
            raise WeightsError(what, describe(error), "The weights say something that it cannot do") from error
        raise PluginError(plugin.name, plugin.version, what, describe(error)) from error
