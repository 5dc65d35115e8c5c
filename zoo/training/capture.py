"""Capture: forward, loss and backward of a step, replayed as one flat function where that gives the same bits.

A small model spends most of a step in Python and autograd, not in arithmetic. The calls into ATen that a step makes are
recorded once, and made again without either. The update stays as it is, so that no learning rate is part of a graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.device import read_generators, set_generators
from zoo.training.graph import UnfitError, digest
from zoo.training.trace import DETAIL, GIVEN, Trace, describe_batch, describe_model, trace_step

log = logging.getLogger("zoo")
REPAID = 200
"""Steps that repay the recording, of any model: what it costs and what a step saves both grow with the calls. A quarter
of them repays the first step of an epoch, which is made both ways."""


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
        self.trace: Trace | None = None
        self.replay: Callable[..., Tensor] = run
        self.form: Any = None
        """That of batches which are replayed, None for none."""

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch with `left` batches to come; `steps` are those of the whole training from here on."""
        worth = left > 1 and 4 * left >= REPAID and (steps >= REPAID or self.trace is not None)
        self.epoch, self.form, self.pending = epoch, None, worth and not self.over

    def __call__(self, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return its mean loss."""
        if self.form is not None and describe_batch(inputs, targets, weight) == self.form:
            with torch._C._AutoDispatchBelowAutograd():
                return self.replay(inputs, targets, weight)
        if self.pending:
            self.pending = False
            return self._begin(inputs, targets, weight)
        loss = self.run(self.model, inputs, targets, weight)
        if self.form is not None and describe_model(self.model) != self.state[1:]:
            self.form = None  # what another kind of batch has changed shows in the steps after it
        return loss

    def _begin(self, inputs: Tensor, targets: Tensor, weight: Any) -> Tensor:
        """Run the first batch of an epoch, both ways where it can be; record it where that is still to be done."""
        form, batch = describe_batch(inputs, targets, weight), (inputs, targets, weight)
        if (state := [form, *describe_model(self.model)]) != self.state:
            self.state, self.trace = state, None
            try:
                self.trace = trace_step(self.model, self.loss_function, self.run, batch, declared=self.declared)
            except UnfitError as reason:
                log.log(DETAIL, "the training step is not captured: %s", reason)
        if self.trace is None:
            return self.run(self.model, inputs, targets, weight)
        buffers = [each for name, each in self.trace.tensors.items() if name[0] == "t"]
        places = [each.untyped_storage() for each in buffers]
        generators, before = read_generators(), [place.clone() for place in places]
        replay = self._bind(self.trace)
        try:
            with torch._C._AutoDispatchBelowAutograd():
                replayed = self._read_state(replay(inputs.clone(), targets.clone(), weight), buffers)
        except RuntimeError as error:
            replayed = [error]
        for place, kept in zip(places, before, strict=True):
            place.copy_(kept)
        for parameter in self.model.parameters():
            parameter.grad = None
        set_generators(generators)
        loss = self.run(self.model, inputs, targets, weight)
        if self._read_state(loss, buffers) == replayed:
            self.form, self.replay = form, replay
        else:
            self.over = True
            # An accelerator may add in another order each time: there a difference tells nothing of the captured step.
            log.log(
                logging.WARNING if inputs.device.type == "cpu" else DETAIL,
                "the captured step differs from an ordinary one at the start of epoch %d: the training goes on without "
                "capture, from the state before that epoch",
                self.epoch + 1,
            )
        return loss

    def _bind(self, trace: Trace) -> Callable[..., Tensor]:
        ended = "add({0}, {1})" if self.accumulates else "{0}.grad = {1}"
        ends = {gradient: ended.format(name, gradient) for gradient, name in trace.graph.ends.items()}
        values = {**trace.tensors, "add": _add}
        replay: Callable[..., Tensor] = trace.graph.bind(values, GIVEN, ends, [trace.graph.result])
        return replay

    def _read_state(self, loss: Tensor, buffers: list[Tensor]) -> list[Any]:
        """Return what can be compared of all that a step may change before its update."""
        states, gradients = read_generators(), [each.grad for each in self.model.parameters()]
        values = (loss, *buffers, *gradients, states["torch"], *states["cuda"])
        return [*(value if value is None else digest(value) for value in values), states["python"], states["numpy"]]


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
