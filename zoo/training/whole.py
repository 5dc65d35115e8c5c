"""The whole step: forward, loss, backward and update, launched on a CUDA device by one call.

A step of a small model is some hundred kernels of a few microseconds each, and the host takes longer to launch one than
the device to run it. What is recorded here is the captured step and the update after it. A graph repeats the same
kernels on the same memory, so each batch is copied into one place, the rates into another, and losses are copied out.

What goes wrong in a graph goes wrong quietly. So each epoch makes its own, and it is used only if two steps of it, with
another batch, another rate and other random numbers in the second, leave every bit that two ordinary steps leave.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.errors import describe
from zoo.models.device import read_generators, set_generators
from zoo.training.capture import Capture
from zoo.training.cuda_graph import CudaGraph, Recorder
from zoo.training.graph import PlainMode, UnfitError, digest
from zoo.training.rates import Rates
from zoo.training.trace import DETAIL, describe_batch, vary

if TYPE_CHECKING:
    from zoo.training.step import TrainStep

log = logging.getLogger("zoo")
WARM_UPS = 3
"""Steps before the recording, in which libraries choose kernels and take memory that a recording could not give."""


class _Place(PlainMode):
    """Refuses tensors that are not on a device: a graph would keep their values, or look for them where they were.

    Raises:
        UnfitError: a call takes or gives such a tensor.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, results)):
            if isinstance(each, Tensor) and each.device != self.device:
                raise UnfitError(f"{func} has a tensor on {each.device}")
        return results


class WholeStep:
    """Makes the steps of an epoch by one graph from the third on, where that is proved the same.

    The first one proves the captured step. Whatever ends the graph, the training goes on from the state that it had.
    """

    def __init__(
        self,
        step: TrainStep,
        capture: Capture,
        rates: Rates,
        make: Callable[[torch.device], Recorder] = CudaGraph,
    ) -> None:
        self.step, self.capture, self.rates, self.make, self.over = step, capture, rates, make, False
        self.start()

    def start(self) -> None:
        """Begin an epoch: parameters and the state of the optimizer may lie elsewhere than in the one before."""
        self.graph: Any = None
        self.places: list[Tensor] = []
        self.loss, self.settings = torch.zeros(()), list[Any]()
        self.norm: Tensor | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor | None:
        """Train on a batch; return its loss, None where the batch is left to others."""
        form = self.capture.form
        if self.over or form is None or describe_batch(inputs, targets, 1) != form:
            return None
        self.step.settle()
        if self.graph is not None and self._read_settings() == self.settings:
            self.rates.write()
            loss = self._replay(inputs, targets)
            self.step.advance()
            return loss
        if reason := "a setting changes from step to step" if self.graph is not None else self._begin(inputs, targets):
            log.log(DETAIL, "the training step is not one CUDA graph: %s", reason)
            self.over = True
            self.start()
        return None

    def _begin(self, inputs: Tensor, targets: Tensor) -> str:
        """Record a graph and prove it, and leave the training as it was; return why it cannot be used."""
        batches, kept = [(inputs, targets), tuple(vary(inputs, targets))], list[torch.UntypedStorage]()
        states = [value for held in self.step.optimizer.state.values() for value in held.values()]
        state = [*(self.capture.trace.tensors.values() if self.capture.trace else ()), *states]
        places = [each.untyped_storage() for each in state]  # an expanded tensor cannot be written to
        generators = read_generators()

        def restore() -> None:
            for place, value in zip(places, kept, strict=True):
                place.copy_(value)
            set_generators(generators)
            self.step.forget()

        try:
            kept = [place.clone() for place in places]
            self._record(inputs, targets)
            restore()
            found = self._make_steps(self._replay, batches, state)
            restore()
            wanted = self._make_steps(self._make_ordinary, batches, state)
        except Exception as error:  # noqa: BLE001 whatever it is, the steps go on without a graph
            return describe(error)
        finally:
            if kept:
                restore()
        return "" if found == wanted else "it leaves other bits than ordinary steps"

    def _record(self, inputs: Tensor, targets: Tensor) -> None:
        form = [(each.shape, each.stride(), each.dtype) for each in (inputs, targets)]
        self.places = [torch.empty_strided(*lie, dtype=dtype, device=inputs.device) for *lie, dtype in form]
        for place, value in zip(self.places, (inputs, targets), strict=True):
            place.copy_(value)

        def run(*, recorded: bool = False) -> None:
            self.step.forget()
            with torch._C._AutoDispatchBelowAutograd():
                self.loss = self.capture.replay(*self.places, 1)
            self.step.trim()
            self.rates.step(recorded=recorded)

        graph = self.make(inputs.device)
        self.rates.write()
        with _Place(inputs.device):
            for _ in range(WARM_UPS):
                graph.warm_up(run)
        graph.record(partial(run, recorded=True))
        self.graph, self.norm, self.settings = graph, self.step.norm, self._read_settings()

    def _make_steps(self, make: Callable[..., Tensor], batches: Sequence[Any], state: Sequence[Tensor]) -> list[Any]:
        """Make a step with each batch, each at half the rate of the one before; return what can be compared."""
        found = list[Any]()
        for number, batch in enumerate(batches):
            self.rates.write(0.5**number)
            loss = make(*(each.clone() for each in batch))
            found += [digest(each) for each in (loss, self.step.norm) if each is not None]
        states = read_generators()
        drawn = [digest(each) for each in (states["torch"], *states["cuda"])]
        return [*found, *map(digest, state), *drawn, states["python"], states["numpy"]]

    def _make_ordinary(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self.step.forget()
        loss = self.capture.run(self.capture.model, inputs, targets, 1)
        self.step.trim()
        self.rates.step()
        return loss

    def _replay(self, inputs: Tensor, targets: Tensor) -> Tensor:
        for place, value in zip(self.places, (inputs, targets), strict=True):
            place.copy_(value)
        self.graph.replay()
        self.step.norm = None if self.norm is None else self.norm.clone()
        return self.loss.clone()

    def _read_settings(self) -> list[Any]:
        """Return all that an update follows, but the rates, which it reads, and the parameters."""
        groups = self.step.optimizer.param_groups
        return [{key: value for key, value in group.items() if key not in ("params", "lr")} for group in groups]
