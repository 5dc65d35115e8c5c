"""Capture: forward, loss and backward of a step, replayed as one flat function where that gives the same bits.

A small model spends most of a step in Python and autograd, not in arithmetic. The calls into ATen that a step makes are
recorded once, and made again without either. The update stays as it is, so that no learning rate is part of a graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._pytree import tree_leaves

from zoo.errors import describe
from zoo.models.device import read_generators, set_generators
from zoo.training.graph import PLAIN, Graph, UnfitError, digest
from zoo.training.purity import find_impurity

log = logging.getLogger("zoo")
DETAIL = 5
"""The level of what the command line never shows."""

REPAID = 200
"""Steps that repay the recording, of any model: what it costs and what a step saves both grow with the calls. A quarter
of them repays the first step of an epoch, which is made both ways."""
GIVEN = ("i0", "i1", "i2")
"""What a batch is called in a graph: inputs, targets and the weight of its loss."""


class Capture:
    """Differentiates batches by what was recorded, where that is proved the same, and as ever elsewhere.

    `run` adds the gradients of a batch to those of a model's parameters and gives its loss. `declared` is what the spec
    of the model says: True vouches for it, None leaves it to the code. The first batch of each epoch is run both ways,
    and one of another shape, the last one say, in the ordinary one.
    """

    def __init__(
        self, model: nn.Module, loss_function: Any, run: Callable[..., Tensor], accumulates: bool, declared: bool | None
    ) -> None:
        self.model, self.loss_function, self.run = model, loss_function, run
        self.accumulates, self.declared = accumulates, declared
        self.epoch, self.pending, self.over, self.state = 0, False, False, list[Any]()
        self.graph: Graph | None = None
        self.replay: Callable[..., Tensor] = run
        self.form: Any = None
        """That of batches which are replayed, None for none."""

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch with `left` batches to come; `steps` are those of the whole training from here on."""
        worth = left > 1 and 4 * left >= REPAID and (steps >= REPAID or self.graph is not None)
        self.epoch, self.form, self.pending = epoch, None, worth and not self.over

    def __call__(self, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return its mean loss."""
        if (inputs.shape, inputs.stride(), targets.shape) == self.form:
            with torch._C._AutoDispatchBelowAutograd():
                return self.replay(inputs, targets, weight)
        if self.pending:
            self.pending = False
            return self._begin(inputs, targets, weight)
        return self.run(self.model, inputs, targets, weight)

    def _begin(self, inputs: Tensor, targets: Tensor, weight: Any) -> Tensor:
        """Run the first batch of an epoch, both ways where it can be; record it where that is still to be done."""
        form, modes = (inputs.shape, inputs.stride(), targets.shape), [each.training for each in self.model.modules()]
        tensors = [(id(each), each.requires_grad) for each in (*self.model.parameters(), *self.model.buffers())]
        if (state := [form, modes, tensors]) != self.state:
            self.state, self.graph = state, None
            try:
                self.graph = self._record(inputs, targets, weight)
            except UnfitError as reason:
                log.log(DETAIL, "the training step is not captured: %s", reason)
        if self.graph is None:
            return self.run(self.model, inputs, targets, weight)
        buffers = [each for name, each in self.tensors.items() if name[0] == "t"]
        generators, before = read_generators(), [each.clone() for each in buffers]
        replay = self.graph.bind({**self.tensors, "add": _add}, GIVEN)
        try:
            with torch._C._AutoDispatchBelowAutograd():
                replayed = self._read_state(replay(inputs.clone(), targets.clone(), weight), buffers)
        except RuntimeError as error:
            replayed = [error]
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
        for parameter in self.model.parameters():
            parameter.grad = None
        set_generators(generators)
        loss = self.run(self.model, inputs, targets, weight)
        if self._read_state(loss, buffers) == replayed:
            self.form, self.replay = form, replay
        else:
            self.over = True
            log.warning(
                "the captured step differs from an ordinary one at the start of epoch %d: the training goes on without "
                "capture, from the state before that epoch",
                self.epoch + 1,
            )
        return loss

    def _record(self, inputs: Tensor, targets: Tensor, weight: Any) -> Graph:
        """Return the graph of a step of a copy of the model, recorded twice, on batches that differ.

        Raises:
            UnfitError: it cannot be recorded, or is not the same each time.
        """
        generators, parameters = read_generators(), list(self.model.parameters())
        heard = [hooks for each in parameters for hooks in (each._backward_hooks, each._post_accumulate_grad_hooks)]
        modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
        if _has_any_global_hook() or any((modes, *heard)):
            raise UnfitError("something else hears of each call, or of each gradient")
        memo: dict[int, Any] = {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in parameters}
        others = [each.clone().copy_(each.flip(0)) for each in (inputs, targets)]
        others[0].mul_(0.75 if inputs.is_floating_point() else 1)
        try:
            if why := find_impurity(nn.Identity() if self.declared else self.model, self.loss_function):
                raise UnfitError(why)
            copy = deepcopy(self.model, memo)
            kept = [each for each in memo.get(id(memo), []) if isinstance(each, Tensor)]
            self.tensors = {
                **{f"p{number}": each for number, each in enumerate(parameters)},
                **{f"t{number}": each for number, each in enumerate(kept)},
            }
            copies = {name: memo[id(each)] for name, each in self.tensors.items()}
            before = _list_attributes(copy)
            graph = self._trace(copy, copies, (inputs.clone(), targets.clone(), weight))
            again = self._trace(copy, copies, (*others, weight))
        except Exception as error:  # whatever it is, the ordinary step tells it or does without
            raise UnfitError(describe(error)) from error
        finally:
            set_generators(generators)
        if _list_attributes(copy) != before or not graph.is_like(again):
            raise UnfitError("the model changes as it computes, or computes something else the next time")
        return graph

    def _trace(self, copy: nn.Module, copies: dict[str, Tensor], batch: tuple[Any, ...]) -> Graph:
        given = {name: each for name, each in zip(GIVEN, batch, strict=True) if isinstance(each, Tensor)}
        graph = Graph({**copies, **given})
        with graph:
            graph.result = graph.name(self.run(copy, *batch))
        for name, tensor in copies.items():
            if name[0] == "p" and tensor.grad is not None:
                gradient = graph.name(tensor.grad)
                graph.ends[gradient] = f"add({name}, {gradient})" if self.accumulates else f"{name}.grad = {gradient}"
                tensor.grad = None
        memories = [graph.memory.get(name, "?") for name in (*graph.ends, graph.result)]
        if len({*memories}) < len(memories) or {name[0] for name in memories} != {"v"}:
            raise UnfitError("a gradient or the loss is part of another tensor")
        return graph

    def _read_state(self, loss: Tensor, buffers: list[Tensor]) -> list[Any]:
        """Return what can be compared of all that a step may change before its update."""
        states, gradients = read_generators(), [each.grad for each in self.model.parameters()]
        values = (loss, *buffers, *gradients, states["torch"], *states["cuda"])
        return [*(value if value is None else digest(value) for value in values), states["python"], states["numpy"]]


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)


def _list_attributes(model: nn.Module) -> list[Any]:
    """Return what the attributes of all layers are, as values that can be compared."""
    leaves = tree_leaves([vars(module) for module in model.modules()])
    return [repr(each) if type(each) in PLAIN else id(each) for each in leaves]
