"""Stopped gradients: values of parameters that the logits depend on, and that no gradient reaches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.model.layers import find_creation
from zoo.checks.model.modes import quieted
from zoo.checks.model.subject import TOLERANCE, measure_difference
from zoo.checks.model.ties import list_ties
from zoo.checks.settings import read_generators
from zoo.checks.source import find_definition
from zoo.models.device import use_seed

STEP, EFFECT, ROUNDS, SECONDS = 1e-2, 1e-4, 8, 5.0
"""How far values are moved, as a share of the mean size of their parameter; how far the logits must follow, as a share
of the largest; and how often, and in how many processor seconds, units that such a step wakes are set aside."""

Values = Mapping[str, Tensor]


def raise_stopped(model: nn.Module, inputs: Tensor) -> None:
    """Raise Fault when logits depend on values whose gradient is exactly 0, as behind a detach() of some channels.

    Units that never fire, rows of a table that no input asks for, masked weights and corners of a kernel that see only
    padding get no gradient either, but moving them moves no logit. `inputs` is a batch; gradients are those of a random
    direction, which no softmax can make 0. The model trains.
    """
    # A gradient may lie at another parameter with the same memory, which check_dtypes finds.
    objects = dict(model.named_parameters(remove_duplicate=False))
    shared = {name for pair in list_ties(model) for name in pair if objects.get(pair[0]) is not objects.get(pair[1])}
    wanting = {name: value for name, value in model.named_parameters() if value.requires_grad}
    parameters = {name: value for name, value in wanting.items() if name not in shared}
    with _with_padding_rows(model):
        logits = _backward(model, inputs)
        stopped = _find_zeros(parameters)
        if not stopped:
            return
        noise = measure_difference(_backward(model, inputs), logits)
        stopped = _find_zeros(parameters, stopped)
        steps, started = _choose_steps(parameters, stopped), time.process_time()
        for _ in range(ROUNDS):
            moved = _move(model, inputs, stopped, steps)
            left = _find_zeros(parameters, stopped)
            if _count(left) == _count(stopped):
                break
            if time.process_time() - started > SECONDS:
                return
            stopped = left
        else:
            return
        limit = max(EFFECT, 20 * noise)
        if not measure_difference(moved, logits) > limit:
            return
        blamed = {
            name: zeros
            for name, zeros in stopped.items()
            if measure_difference(_move(model, inputs, {name: zeros}, steps), logits) > limit
        } or stopped
    name = next(iter(blamed))
    count, total = int(blamed[name].sum()), blamed[name].numel()
    where = find_creation(model.get_submodule(name.rpartition(".")[0])) or find_definition(type(model))
    others = f", and values of {len(blamed) - 1} more" if len(blamed) > 1 else ""
    seen = f"{count} of {total} values of {name}{others} get a gradient of exactly 0, though the logits follow them"
    raise Fault(seen, "Take out the detach() or no_grad() behind a part of this layer, or a hook that masks it", where)


def _count(zeros: Values) -> int:
    return sum(int(where.sum()) for where in zeros.values())


def _find_zeros(parameters: Values, among: Values | None = None) -> dict[str, Tensor]:
    """Return where gradients are exactly 0, for each parameter that has such values."""
    zeros = {}
    for name in parameters if among is None else among:
        gradient = parameters[name].grad
        if gradient is None or gradient.layout != torch.strided:
            continue
        where = gradient == 0 if among is None else (gradient == 0) & among[name]
        if bool(where.any()):
            zeros[name] = where
    return zeros


def _backward(model: nn.Module, inputs: Tensor) -> Tensor:
    """Compute gradients of a random direction of the logits; return the logits."""
    model.zero_grad(set_to_none=True)
    with use_seed(6):
        logits: Tensor = model(inputs.clone())
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
    (logits * direction).sum().backward()
    return logits.detach().clone()


def _choose_steps(parameters: Values, places: Values) -> Values:
    """Return how far each value is moved: at random, since a normalisation or a softmax cancels equal steps."""
    generator = torch.Generator().manual_seed(20012)
    with torch.no_grad():
        sizes = {name: STEP * (parameters[name].abs().mean() + 1e-3) for name in places}
        return {
            name: torch.randn(parameters[name].shape, generator=generator).to(size) * size
            for name, size in sizes.items()
        }


def _move(model: nn.Module, inputs: Tensor, places: Values, steps: Values) -> Tensor:
    """Return the logits, and leave the gradients, with the values at some places moved a little."""
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].detach().clone() for name in places}
    with torch.no_grad():
        for name, where in places.items():
            parameters[name].addcmul_(steps[name], where.to(steps[name]))
    try:
        return _backward(model, inputs)
    finally:
        with torch.no_grad():
            for name, value in before.items():
                parameters[name].copy_(value)


@contextmanager
def _with_padding_rows(model: nn.Module) -> Iterator[None]:
    """Give rows of embeddings for padding a gradient in the body; by design they get none."""
    layers: Any = [module for module in model.modules() if isinstance(getattr(module, "padding_idx", None), int)]
    rows = [layer.padding_idx for layer in layers]
    for layer in layers:
        layer.padding_idx = None
    try:
        yield
    finally:
        for layer, row in zip(layers, rows, strict=True):
            layer.padding_idx = row


def raise_unequal_places(model: nn.Module, inputs: Tensor) -> None:
    """Raise Fault when a sample reaches parameters at one place of a batch and not at another.

    One sample is repeated, so that nothing but the place can differ; what draws at random or computes over the batch
    is let be.
    """
    repeated = inputs[:1].repeat(len(inputs), *[1] * (inputs.ndim - 1))
    with quieted(model), use_seed(6):
        before = read_generators()
        with torch.no_grad():
            alike = [model(torch.cat([inputs[:1], factor * inputs[1:]]))[:1] for factor in (1, 100)]
        if not measure_difference(*alike) <= TOLERANCE:
            return
        logits = model(repeated)
        if before != read_generators() or not logits.requires_grad:
            return
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    direction = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0)).to(logits)
    reached = list[set[str]]()
    for place in sorted({0, len(inputs) // 2, len(inputs) - 1}):
        score = (logits[place] * direction).sum()
        gradients = torch.autograd.grad(score, [*parameters.values()], retain_graph=True, allow_unused=True)
        reached.append(
            {name for name, grad in zip(parameters, gradients, strict=True) if grad is not None and grad.any()}
        )
    missing = sorted(set[str]().union(*reached) - reached[0].intersection(*reached))
    if missing:
        seen = f"some places of a batch give {', '.join(missing[:4])} a gradient, and others none for the same sample"
        fix = "Train with all samples of a batch: no detach() of a part of it"
        raise Fault(seen, fix, find_definition(type(model)))
