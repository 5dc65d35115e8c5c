"""Trace: what a training step calls, forward, loss and backward, recorded on a copy of the model.

It is recorded twice, on batches that differ, and refused where the two are not the same to the letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._pytree import tree_flatten

from zoo.errors import describe
from zoo.models.device import read_generators, set_generators
from zoo.training.graph import PLAIN, Graph, UnfitError
from zoo.training.purity import find_impurity

GIVEN = ("i0", "i1", "i2")
"""What a batch is called in a graph: inputs, targets and the weight of its loss."""
DETAIL = 5
"""The level of the log of why a step is not recorded, which the command line never shows."""


@dataclass(frozen=True)
class Trace:
    """The calls of a step, and the parameters and buffers of the model by their names in the graph.

    What the graph gives is the loss; its `ends` are the gradients, each with the name of its parameter.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]


def describe_batch(inputs: Tensor, targets: Tensor, weight: Any) -> tuple[Any, ...]:
    """Return what a recorded step takes for granted of a batch: how it lies in memory, and a weight that is plain."""
    return inputs.shape, inputs.stride(), targets.shape, targets.stride(), None if type(weight) is Tensor else weight


def describe_model(model: nn.Module) -> list[Any]:
    """Return what a recorded step takes for granted of a model: attributes, with all that lists and dicts hold."""
    try:
        leaves, form = tree_flatten([vars(module) for module in model.modules()])
    except RecursionError:  # a list holds itself
        return [object()]
    values = [repr(each) if type(each) in PLAIN else id(each) for each in leaves]
    return [form, values, [each.requires_grad for each in (*model.parameters(), *model.buffers())], _is_heard(model)]


def _is_heard(model: nn.Module) -> bool:
    """Whether something else hears of each call, or of each gradient."""
    hooks = [each for one in model.parameters() for each in (one._backward_hooks, one._post_accumulate_grad_hooks)]
    saved = torch._C._autograd._top_saved_tensors_default_hooks(True), torch.is_anomaly_enabled()
    modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
    return _has_any_global_hook() or any((modes, *saved, *hooks))


def vary(inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """Return another batch of the same form."""
    others = [each.clone().copy_(each.flip(0)) for each in (inputs, targets)]
    others[0].mul_(0.75 if inputs.is_floating_point() else 1)
    return others


def trace_step(
    model: nn.Module, loss_function: Any, run: Callable[..., Tensor], batch: tuple[Any, ...], *, declared: bool | None
) -> Trace:
    """Record a step of a copy of a model: `run(model, inputs, targets, weight)`, which gives the loss.

    `declared` says that the author vouches for the model, whose code is then not read.

    Raises:
        UnfitError: it cannot be recorded, or is not the same each time.
    """
    generators, parameters = read_generators(), list(model.parameters())
    if _is_heard(model):
        raise UnfitError("something else hears of each call, or of each gradient")
    memo: dict[int, Any] = {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in parameters}
    inputs, targets, weight = batch
    others = vary(inputs, targets)
    try:
        if why := find_impurity(nn.Identity() if declared else model, loss_function):
            raise UnfitError(why)
        copy = deepcopy(model, memo)
        kept = [each for each in memo.get(id(memo), []) if isinstance(each, Tensor)]
        tensors = {
            **{f"p{number}": each for number, each in enumerate(parameters)},
            **{f"t{number}": each for number, each in enumerate(kept)},
        }
        copies = {name: memo[id(each)] for name, each in tensors.items()}
        states = [describe_model(copy)]
        graph = _record(copy, run, copies, (inputs.clone(), targets.clone(), weight))
        states.append(describe_model(copy))
        again = _record(copy, run, copies, (*others, weight))
        states.append(describe_model(copy))
    except Exception as error:  # whatever it is, the ordinary step tells it or does without
        raise UnfitError(describe(error)) from error
    finally:
        set_generators(generators)
    if states != [states[0]] * 3 or not graph.is_like(again):
        raise UnfitError("the model changes as it computes, or computes something else the next time")
    return Trace(graph, tensors)


def _record(copy: nn.Module, run: Callable[..., Tensor], copies: dict[str, Tensor], batch: tuple[Any, ...]) -> Graph:
    given = {name: each for name, each in zip(GIVEN, batch, strict=True) if isinstance(each, Tensor)}
    graph = Graph({**copies, **given})
    with graph:
        graph.result = graph.name(run(copy, *batch))
    trained = {name: tensor for name, tensor in copies.items() if name[0] == "p" and tensor.grad is not None}
    gradients = {name: graph.name(tensor.grad) for name, tensor in trained.items() if tensor.grad is not None}
    for tensor in trained.values():
        tensor.grad = None
    memories = [graph.memory.get(name, "?") for name in (*gradients.values(), graph.result)]
    if len({*memories}) < len(memories) or {name[0] for name in memories} != {"v"}:
        raise UnfitError("a gradient or the loss is part of another tensor")
    graph.ends = {gradient: name for name, gradient in gradients.items()}
    return graph
