"""Probe: what one forward pass tells of a model: whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from zoo.errors import DryRunError, OutOfMemoryError, describe, is_out_of_memory, quote, show
from zoo.registry.compatibility import show_shape
from zoo.registry.global_state import keep_state
from zoo.registry.preprocess import name_dtype
from zoo.registry.source import describe_fault


@keep_state()
def check_model(model: nn.Module, inputs: torch.Tensor, *, name: str, dataset: str, num_classes: int) -> None:
    """Run the model in eval mode on inputs `(N, *input_shape)` and check its logits; no state of anything changes.

    Raises:
        DryRunError: the model raises, gives something else than finite float logits `(N, num_classes)`, or its state
            dict is another one afterwards.
    """
    count, *shape = inputs.shape
    needed = f"float logits of {count}x{num_classes} for inputs of {count}x{show_shape(shape)}"
    before = _describe_state(model)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), modes(model, training=False):
            logits = model(inputs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"not enough memory for {count} samples of model {name!r}", describe(error)
            ) from error
        raise DryRunError(name, dataset, needed, describe_fault(error)) from error
    if not isinstance(logits, torch.Tensor):
        raise DryRunError(name, dataset, needed, _describe_output(logits))
    if tuple(logits.shape) != (count, num_classes):
        raise DryRunError(name, dataset, needed, show_shape(tuple(logits.shape)) or "a single number")
    if not logits.dtype.is_floating_point:
        raise DryRunError(name, dataset, needed, f"dtype {logits.dtype}")
    if not bool(torch.isfinite(logits).all()):
        raise DryRunError(name, dataset, needed, "values that are not finite")
    _check_state(model, before, name, dataset)


def check_training_pass(
    model: nn.Module, inputs: torch.Tensor, *, name: str, dataset: str, aux_weights: Sequence[float] = ()
) -> None:
    """Run the model in training mode, which may change its buffers and what it keeps elsewhere.

    Raises:
        DryRunError: the model raises, gives other outputs than its entry declares with `aux_weights`, or its state dict
            has other tensors afterwards.
    """
    before = _describe_state(model)
    try:
        with modes(model, training=True):
            outputs = model(inputs)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        kind = inputs.device.type
        lowered = f" in {name_dtype(torch.get_autocast_dtype(kind))}" if torch.is_autocast_enabled(kind) else ""
        needed = f"a forward pass in training mode{lowered} for inputs of {show_shape(tuple(inputs.shape))}"
        raise DryRunError(name, dataset, needed, describe_fault(error)) from error
    if problem := find_output_problem(outputs, aux_weights):
        raise DryRunError(name, dataset, "logits in training mode", *problem)
    _check_state(model, before, name, dataset)


def _describe_output(output: object) -> str:
    """Return what a model gave that is no tensor, in words."""
    if output is None:
        return "None: its forward returns nothing"
    keys = f" with keys {show(list(output))}" if isinstance(output, dict) else ""
    return f"a {type(output).__name__}{keys}: return the logits alone"


def find_output_problem(outputs: object, aux_weights: Sequence[float]) -> tuple[str, str] | None:
    """Return what is wrong with what a model gives in training mode, and what mends it; None where nothing is.

    Logits alone are right, and where auxiliary ones are declared, a tuple of logits and as many others of their shape.
    """
    if isinstance(outputs, torch.Tensor):
        return None
    if not isinstance(outputs, tuple) or not all(isinstance(each, torch.Tensor) for each in outputs):
        return _describe_output(outputs), "Return logits, or a tuple of logits and auxiliary ones"
    others = len(outputs) - 1
    if others != len(aux_weights) or not others:
        fix = f"Declare a weight for each of the {others}: aux_weights = {[0.3] * others}" if others > 0 else ""
        return f"a tuple of {len(outputs)}, with {len(aux_weights)} aux_weights declared", fix
    shapes = [tuple(each.shape) for each in outputs]
    if len(set(shapes)) > 1:
        return f"a tuple of {' and '.join(map(str, shapes))}", "Give auxiliary logits the shape of the logits"
    return None


def _check_state(model: nn.Module, before: dict[str, str], name: str, dataset: str) -> None:
    after = _describe_state(model)
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if changed:
        key = changed[0]
        got = f"{len(changed)} that change in forward: {quote(key)} was {before.get(key, 'not there')}, "
        fix = "Make all parameters and buffers in __init__: the optimizer and saved weights know no others"
        got += f"now it is {after.get(key, 'not there')}"
        raise DryRunError(name, dataset, "parameters and buffers that stay what they are", got, fix)


def _describe_state(model: nn.Module) -> dict[str, str]:
    """Return dtype and shape of each part of the state dict, in words."""
    return {
        key: f"{name_dtype(value.dtype)} {tuple(value.shape)}"
        if isinstance(value, torch.Tensor)
        else f"a {type(value).__name__}"
        for key, value in model.state_dict().items()
    }


@contextmanager
def modes(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run the body with the model in a mode, then give each of its modules back its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
