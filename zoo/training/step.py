"""The training step: one update of a model from one batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.registry.settings import TrainConfig
from zoo.training.average import Average
from zoo.training.capture import Capture
from zoo.training.compiled import Compiled
from zoo.training.precision import lower
from zoo.training.rates import Rates, make_rates
from zoo.training.schedules import Schedule

if TYPE_CHECKING:
    from zoo.training.group import Group
    from zoo.training.whole import WholeStep

Forward = Callable[[Tensor], Any]
"""Gives the logits `(N, num_classes)` of inputs: a model, or what runs one in another precision."""
LossFunction = Callable[..., Tensor]
"""Gives the mean loss of a batch, of logits `(N, num_classes)` and targets: classes `(N,)`, or shares of classes
`(N, num_classes)`. It may have `weigh(targets)`, what a batch counts among several that make one step: by default its
number of samples."""


class TrainStep:
    """Forward, loss, backward, update: called with a batch, it gives the mean loss, detached.

    Nothing is read back from the device, so an accelerator is never waited for.
    """

    def __init__(
        self,
        model: Forward,
        loss_function: LossFunction,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None = None,
    ) -> None:
        self.model, self.loss_function, self.optimizer, self.schedule = model, loss_function, optimizer, schedule
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.batches, self.skipped = 0, 0
        """Batches whose gradients wait for those of others, and steps in a row that fp16 had to leave out."""
        self.norm: Tensor | None = None
        """The norm of all gradients of the last update before they were clipped, where a setting clips it."""
        self.capture: Capture | Compiled | None = None
        self.copying: Future[None] | None = None
        """A thread copies what the next update writes into, for a checkpoint."""
        self.rates: Rates | None = None
        """Those that updates read on a CUDA device."""
        self.whole: WholeStep | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Train on inputs `(N, *input_shape)` and targets `(N,)`; return the loss, a tensor of one value."""
        if self.whole is not None and (whole := self.whole(inputs, targets)) is not None:
            return whole
        self.forget()
        if self.capture is not None:
            loss = self.capture(inputs, targets)
        else:
            loss = self.differentiate(self.model, inputs, targets)
        self.update()
        return loss

    def differentiate(self, model: Forward, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return its mean loss, detached."""
        loss = self.loss_function(model(inputs), targets)
        loss.backward()
        return loss.detach()

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch with `left` batches to come; `steps` are those of the whole training from here on."""
        if self.capture is not None:
            self.capture.start(epoch, left, steps)
        if self.whole is not None:
            self.whole.start()

    @property
    def is_replayed(self) -> bool:
        """Whether a batch like the last one is replayed, which writes into no parameter before the update."""
        return isinstance(self.capture, Capture) and self.capture.form is not None

    def settle(self) -> None:
        """Wait until what the next update writes into is copied."""
        copying, self.copying = self.copying, None
        if copying is not None:
            wait([copying])

    def count(self, targets: Tensor) -> int:
        """Return how many samples the batch has that was just trained on."""
        return len(targets)

    def forget(self) -> None:
        """Forget the gradients: what optimizer.zero_grad() does, without the profiler record it makes."""
        for parameter in self.parameters:
            parameter.grad = None

    def trim(self) -> None:
        """Make the gradients what the parameters are updated by; they are so already."""

    def update(self) -> None:
        """Update the parameters by their gradients, then the learning rate."""
        self.settle()
        if self.rates is None:
            self.optimizer.step()
        else:
            self.rates.update()
        self.advance()

    def advance(self) -> None:
        """Do what follows an update of the parameters: change the learning rate."""
        if self.schedule is not None:
            self.schedule.step()

    def finish(self) -> None:
        """End an epoch: all of its batches have made their steps, and the memory of their graph is free again."""
        self.settle()
        if self.whole is not None:
            self.whole.start()

    def list_parts(self) -> dict[str, Any]:
        """Return what has a state that changes from step to step, by name, each with a `state_dict`."""
        parts = {"optimizer": self.optimizer, "schedule": self.schedule}
        return {name: part for name, part in parts.items() if part is not None}


def build_step(
    model: nn.Module,
    loss_function: LossFunction,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule | None,
    config: TrainConfig,
    average: Average | None = None,
    capture: bool | None = False,
    group: Group | None = None,
) -> TrainStep:
    """Return the step that the settings ask for; the plain one where they ask for nothing that costs time.

    Of several ranks, a `group`, each has its own. `capture` says whether it may be captured, None leaves that to the
    code of the model.
    """
    weigh, device = getattr(loss_function, "weigh", len), next(model.parameters()).device
    if config.label_smoothing:
        loss_function = partial(loss_function, label_smoothing=config.label_smoothing)
    lowered = partial(lower, precision=config.precision, device=device)
    forward = lowered(model)
    careful = config.accumulate > 1 or config.clip is not None or config.clip_value is not None
    parts = (forward, loss_function, optimizer, schedule, config, average, weigh)
    batch_size, weighted = config.batch_size, config.accumulate > 1 or group is not None
    if group is not None:
        from zoo.training.rank_step import RankStep

        step: TrainStep = RankStep(group, *parts)
        batch_size = len(range(batch_size)[group.ranks.part(batch_size)])
    elif careful or average is not None or config.precision == "fp16":
        from zoo.training.careful_step import CarefulStep

        step = CarefulStep(*parts)
    else:
        step = TrainStep(forward, loss_function, optimizer, schedule)
    step.rates = make_rates(optimizer, device)
    # The scale of fp16 changes from step to step.
    if config.precision == "fp16" or not (config.compile or (config.capture and capture is not False)):
        return step
    accumulates = config.accumulate > 1

    def run(model: nn.Module, inputs: Tensor, targets: Tensor, weight: Any) -> Tensor:
        step.settle()  # an ordinary forward pass may write into parameters
        return step.differentiate(lowered(model), inputs, targets, weight)

    def measure(inputs: Tensor, targets: Tensor, weight: Any) -> tuple[Tensor, Tensor]:
        loss = loss_function(forward(inputs), targets)
        return loss, loss * weight if weighted else loss

    if config.compile:
        step.capture = Compiled(model, loss_function, run, measure, batch_size, capture)
    else:
        step.capture = Capture(model, loss_function, run, accumulates, capture)
        if step.rates is not None and group is None and not accumulates:
            from zoo.training.whole import WholeStep

            step.whole = WholeStep(step, step.capture, step.rates)
    return step
