"""The training step: one update of a model from one batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import DivergedError
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
Weigh = Callable[[Tensor], float | Tensor]
"""Gives what the targets of a batch count."""
SKIPS = 40
"""Steps one after the other whose gradients overflow in fp16, the scale of the loss halved each time from 65536 on: by
then no scale helps."""


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
        """End an epoch: all of its batches have made their steps."""
        self.settle()

    def list_parts(self) -> dict[str, Any]:
        """Return what has a state that changes from step to step, by name, each with a `state_dict`."""
        parts = {"optimizer": self.optimizer, "schedule": self.schedule}
        return {name: part for name, part in parts.items() if part is not None}


class CarefulStep(TrainStep):
    """A step whose gradients are those of several batches, are clipped, and scaled where fp16 would lose them; after it
    the average of the weights is brought up to date. Each as the settings say."""

    def __init__(
        self,
        model: Forward,
        loss_function: LossFunction,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None,
        config: TrainConfig,
        average: Average | None = None,
        weigh: Weigh = len,
    ) -> None:
        super().__init__(model, loss_function, optimizer, schedule)
        if config.precision == "fp16":  # the sum of a batch's losses would overflow; this divides without rounding
            weigh = partial(_weigh_less, weigh, 2 ** (config.batch_size - 1).bit_length())
        self.config, self.average, self.weigh = config, average, weigh
        self.samples: float | Tensor = 0
        self.weighted = config.accumulate > 1
        """Whether gradients are those of sums, which are divided by the weights of all summands."""
        device = self.parameters[0].device.type if self.parameters else "cpu"
        self.scaler = torch.amp.GradScaler(device, enabled=config.precision == "fp16")

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradients of a batch, weighted by its samples; update after as many batches as the settings say.

        The gradients are then those of one large batch, but for how floats are rounded, where nothing in the model
        depends on the whole batch.
        """
        if self.whole is not None and (whole := self.whole(inputs, targets)) is not None:
            return whole
        if not self.batches:
            self.forget()
        samples = self.weigh(targets) if self.weighted else 1
        if self.capture is not None:
            loss = self.capture(inputs, targets, samples)
        else:
            loss = self.differentiate(self.model, inputs, targets, samples)
        self.batches, self.samples = self.batches + 1, self.samples + samples
        if self.batches == self.config.accumulate:
            self.finish()
        return loss

    def differentiate(self, model: Forward, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch, times its weight, to those of the parameters; return its mean loss."""
        loss = self.loss_function(model(inputs), targets)
        self.scaler.scale(loss * weight if self.weighted else loss).backward()
        return loss.detach()

    def finish(self) -> None:
        """Update by the gradients of the batches since the last update, if there are any."""
        self.settle()
        if not self.batches:
            return
        self.trim()
        self.batches, self.samples = 0, 0
        self.update()

    def trim(self) -> None:
        """Make the gradients what the parameters are updated by: without a scale, a mean over all samples, clipped."""
        self.scaler.unscale_(self.optimizer)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if self.weighted:
            torch._foreach_div_(gradients, self.samples)
        if self.config.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
            # With a scaler an infinite norm is no divergence: the step is left out and the scale falls.
            self.norm = None if self.scaler.is_enabled() else norm
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.clip_value)

    def update(self) -> None:
        """Update the parameters, then the learning rate and the average; none of them where gradients overflowed.

        Raises:
            DivergedError: they did so SKIPS times in a row.
        """
        if not self.scaler.is_enabled():
            super().update()
            return
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.get_scale() < scale:
            self.skipped += 1
            if self.skipped == SKIPS:
                what = f"the gradients of {SKIPS} steps in a row were not finite in fp16"
                raise DivergedError(what, fix="Use precision='fp32', or a lower lr=...")
            return
        self.skipped = 0
        self.advance()

    def advance(self) -> None:
        """Do what follows an update of the parameters: change the learning rate and the average."""
        super().advance()
        if self.average is not None:
            self.average.update()

    def list_parts(self) -> dict[str, Any]:
        """Return what has a state that changes from step to step, by name, each with a `state_dict`."""
        more = {"average": self.average, **({"scaler": self.scaler} if self.scaler.is_enabled() else {})}
        return {**super().list_parts(), **{name: part for name, part in more.items() if part is not None}}


def _weigh_less(weigh: Weigh, times: int, targets: Tensor) -> float | Tensor:
    return weigh(targets) / times


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
