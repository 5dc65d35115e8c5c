"""Calls: whether logits depend on how, when and how often a model is called."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.model.subject import TOLERANCE, ModelSubject, measure_difference
from zoo.checks.source import find_definition
from zoo.models.device import use_seed

CALLS, CALL_SECONDS = 20, 0.2
"""Limits of calling a model again and again: calls, and processor seconds."""


def check_calls(subject: ModelSubject) -> str:
    """In evaluation logits depend on the values of the inputs, and on nothing else of a call.

    Neither on the gradient mode, nor on how inputs lie in memory or whether they want a gradient, nor on the clock or
    the number of calls; and switching to training and back changes nothing. A run evaluates in inference mode, a
    notebook often does not. Up to 1e-4 of the largest logit may differ. A layout that the model refuses is fine, since
    zoo gives contiguous inputs.
    """
    model, inputs = subject.perturbed.eval(), subject.inputs(subject.inference_samples)
    where = find_definition(type(model))
    expected = _compute(model, inputs)
    with torch.enable_grad():
        _require_same(
            _call(model, inputs), expected, "with gradients", "Look at self.training, not at the gradient mode", where
        )
        wanting = inputs.clone().requires_grad_()
        _require_same(
            _call(model, wanting), expected, "for inputs that want a gradient", "Treat all inputs alike", where
        )
    with torch.inference_mode():
        logits = _call(model, inputs.clone()).clone()
    _require_same(logits, expected, "in inference mode", "Treat all gradient modes alike", where)
    for other in _list_layouts(inputs):
        try:
            logits = _compute(model, other)
        except RuntimeError:  # view() refuses a layout, which gives no wrong number
            continue
        fix = "Use shapes and indices, or reshape(), not strides, as_strided() or data_ptr()"
        _require_same(logits, expected, "for inputs that lie otherwise in memory", fix, where)
    with _tomorrow():
        logits = _compute(model, inputs)
    _require_same(logits, expected, "on another day", "Leave the clock out of it", where)
    model.train()
    logits = _compute(model.eval(), inputs)
    _require_same(logits, expected, "after train() and eval()", "Let train() and eval() switch the mode only", where)
    started = time.process_time()
    for number in range(CALLS):
        if time.process_time() - started > CALL_SECONDS:
            break
        _require_same(_compute(model, inputs), expected, f"at call {number + 1}", "Count no calls", where)
    return "the same in each gradient mode, memory layout and call"


def _call(model: nn.Module, inputs: Tensor) -> Tensor:
    with use_seed(1):
        logits: Tensor = model(inputs)
    return logits


def _compute(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return _call(model, inputs).clone()


def _require_same(logits: Tensor, expected: Tensor, when: str, fix: str, where: str) -> None:
    difference = measure_difference(logits.detach(), expected)
    if not difference <= TOLERANCE:
        seen = f"the same inputs give logits that differ by {difference:.2g} of the largest {when}"
        raise Fault(seen, fix, where)


def _list_layouts(inputs: Tensor) -> Iterator[Tensor]:
    """Yield the inputs with their last axes swapped in memory, and as every second value of a longer memory."""
    if inputs.ndim == 4:
        yield inputs.to(memory_format=torch.channels_last)
    if inputs.ndim >= 3:
        yield inputs.transpose(-1, -2).contiguous().transpose(-1, -2)
    yield torch.stack([inputs, -inputs], dim=-1)[..., 0]


@contextmanager
def _tomorrow() -> Iterator[None]:
    """Let the clocks of Python tell a time of another day in the body."""

    def later(clock: Callable[[], float], by: int) -> Callable[[], float]:
        return lambda: clock() + by

    day = 100_003  # seconds: neither the hour, nor the minute nor the second is that of now
    clocks: dict[str, Any] = {name: later(getattr(time, name), day) for name in ("time", "monotonic", "perf_counter")}
    with patch.multiple(time, time_ns=later(time.time_ns, day * 10**9), **clocks):
        yield
