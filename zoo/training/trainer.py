"""The trainer: the loop over epochs, the loop over batches, and evaluation. It takes objects, not names or files."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from zoo.data.batch import Batches
from zoo.errors import DivergedError, UsageError
from zoo.models.device import read_generators
from zoo.models.freezing import unfreeze
from zoo.models.tf32 import use_tf32
from zoo.records.history import Epoch
from zoo.registry.metric import Metric
from zoo.registry.settings import TrainConfig
from zoo.training import course
from zoo.training.average import Average
from zoo.training.choice import Choice
from zoo.training.collapse import ClassPairs, CollapseWatch
from zoo.training.finite import check_finite, list_infinite
from zoo.training.losses import Losses
from zoo.training.metrics import compute_metrics, reset_metrics, update_metrics
from zoo.training.optimizers import build_optimizer
from zoo.training.progress import Progress, no_progress
from zoo.training.schedules import build_schedule
from zoo.training.signals import defer_signals
from zoo.training.snapshot import Snapshot
from zoo.training.state import load_state, read_state
from zoo.training.step import LossFunction, TrainStep, build_step

if TYPE_CHECKING:
    from zoo.training.group import Group
    from zoo.training.predictions import OutcomeCollector


@dataclass
class Trainer:
    """Trains a model. `state` is all that a training is between two steps.

    `after` is called after each step of the training, and after each batch of an evaluation. `head` and `later` are
    names of parameters: those that have a rate of their own, and those that are frozen until the epoch in which the
    settings let them be trained. `choice` chooses the best epoch. `objective` is what the history calls what is
    minimised. `capture` says whether the step may be captured, None leaves that to its code. `group`: the other ranks.
    """

    model: nn.Module
    config: TrainConfig
    device: torch.device
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    loss_function: LossFunction = nn.functional.cross_entropy
    show: Progress = no_progress
    on_epoch: Callable[[Epoch], None] | None = None
    after: Callable[[], None] | None = None
    outcomes: OutcomeCollector | None = None
    head: Collection[str] = ()
    later: Collection[str] = ()
    choice: Choice | None = None
    objective: str = "loss"
    capture: bool | None = None
    group: Group | None = None

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.model, self.config, head=self.head, later=self.later)
        self.average = None if self.config.ema is None else Average(self.model, self.config.ema)
        self.step: TrainStep | None = None
        self.batches = 0
        self.history: list[Epoch] = []
        self.snapshot, self.losses = Snapshot(), Losses(self.device)
        self.generators: dict[str, Any] | None = None
        """Those of the process when an evaluation began that may have to begin again."""

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated and kept: the averaged one where the settings ask for an average."""
        return self.model if self.average is None else self.average.module

    def prepare(self, batches: int) -> TrainStep:
        """Build the schedule and the step of a training of so many batches in each epoch, once; return the step.

        Raises:
            UsageError: the training was begun with other batches.
        """
        if self.step is None:
            schedule = build_schedule(self.optimizer, self.config, batches, self.choice)
            parts = (self.model, self.loss_function, self.optimizer, schedule, self.config, self.average)
            self.step = build_step(*parts, capture=self.capture, group=self.group)
            self.watch = CollapseWatch(self.config, batches)
            self.batches, self.infinite = batches, list_infinite(self.evaluated)
        elif self.batches != batches:
            raise UsageError(f"an epoch has {batches} batches", f"the training was begun with {self.batches}")
        return self.step

    @property
    def is_between_steps(self) -> bool:
        """Whether no gradients wait for those of further batches, so that `state` says all."""
        return self.step is not None and not self.step.batches

    def state(self, former: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all that the training is, see `zoo.training.state.read_state`."""
        return read_state(self, former)

    def load_state(self, state: Mapping[str, Any], *, refit: bool = False) -> None:
        """Become what a training was, see `zoo.training.state.load_state`."""
        load_state(self, state, refit=refit)

    def fit(self, train: Batches, test: Batches, choice: Choice | None = None) -> list[Epoch]:
        """Train for the epochs of the settings, evaluating on `test` after each; return the history.

        With a choice `test` is the validation split: the best epoch is noted and kept, and the training may end before
        its last epoch. Without one `outcomes` collects the predictions of the last evaluation.

        Raises:
            DivergedError: a loss or a tensor of the model is not finite, or it is stuck at chance and is to stop then.
        """
        self.choice = choice = choice or self.choice
        if choice is not None:
            for done in self.history:
                choice.note(done)
        split: Literal["validation", "test"] = "validation" if choice else "test"
        step, losses = self.prepare(len(train)), self.losses
        for epoch in range(len(self.history), self.config.epochs):
            if choice is not None and choice.is_over(epoch):
                break
            if self.config.unfreeze_at is not None and epoch + 1 >= self.config.unfreeze_at:
                unfreeze(self.model, self.later)
            started = time.perf_counter()
            with use_tf32(self.config.tf32):
                later = len(train) * (self.config.epochs - epoch - 1)
                loss = train_one_epoch(self.model, step, train, losses, epoch, self.show, self.after, later)
            trained = time.perf_counter()
            if self.group is not None:
                self.group.share([*self.model.buffers(), *self.evaluated.buffers()])
            check_finite(self.evaluated, self.infinite, epoch + 1)
            self.generators = read_generators()
            watched = self.watch.collector(epoch + 1)
            outcomes = self.outcomes if choice is None and epoch + 1 == self.config.epochs else watched
            options: dict[str, Any] = {"show": self.show, "outcomes": outcomes, "after": self.after}
            scores = evaluate(self.evaluated, test, self.metrics, epoch=epoch, **options, group=self.group)
            seconds = {"train": trained - started, split: time.perf_counter() - trained}
            losses_told = {self.objective: loss}
            if course.NAME in self.metrics:
                losses_told[course.LOSS] = losses.mean_over_batches()
            rate = step.schedule.rate if step.schedule else float(self.optimizer.param_groups[0]["lr"])
            told: Epoch = {"epoch": epoch + 1, "lr": rate, "train": losses_told, "seconds": seconds}
            told[split] = scores
            if step.schedule is not None:
                step.schedule.finish_epoch(scores)
            stuck = self.watch.look(told, watched)
            self.finish_epoch(told)
            if self.on_epoch is not None:
                self.on_epoch(self.history[-1])
            self.watch.tell(told, stuck)
        return self.history

    def finish_epoch(self, epoch: Epoch) -> None:
        """Keep what an epoch came to, and the model as it is now where another epoch is to change it."""
        with defer_signals():
            self.losses.start(len(self.history) + 1)
            self.generators = None
            self.history.append(epoch)
            wanted = len(self.history) < self.config.epochs
            if self.choice is not None:
                wanted = self.choice.note(epoch)
            if wanted:
                self.snapshot.take(self.evaluated)

    def restore(self) -> bool:
        """Give the evaluated model back what it was after the best epoch, without a choice after the last finished one.

        Return whether there was one.
        """
        finished = len(self.history)
        if self.choice is not None:
            return finished > 0 and self.snapshot.restore(self.evaluated)
        return finished > 0 and (finished == self.config.epochs or self.snapshot.restore(self.evaluated))


def train_one_epoch(
    model: nn.Module,
    step: TrainStep,
    batches: Batches,
    losses: Losses,
    epoch: int,
    show: Progress = no_progress,
    after: Callable[[], None] | None = None,
    later: int = 0,
) -> float:
    """Train on every batch once, with `later` ones in other epochs; return the mean loss. `after` follows each."""
    model.train()
    done = losses.start(epoch)
    description, total = f"epoch {epoch + 1}", len(batches) - done
    step.start(epoch, total, total + later)
    for inputs, targets in show(batches.epoch(epoch, done), total=total, description=description, status=losses.status):
        losses.add(step(inputs, targets), step.count(targets), step.norm)
        if after is not None:
            after()
    step.finish()
    losses.watch(step.norm)
    return losses.mean()


@torch.inference_mode()
@use_tf32(wanted=False)
def evaluate(
    model: nn.Module,
    batches: Batches,
    metrics: Mapping[str, Metric],
    *,
    epoch: int = 0,
    show: Progress = no_progress,
    outcomes: OutcomeCollector | ClassPairs | None = None,
    after: Callable[[], None] | None = None,
    group: Group | None = None,
) -> dict[str, float]:
    """Return the mean cross-entropy per sample as `loss`, and the metrics; the same for any batch size.

    `outcomes` collects what is predicted for each sample; `after` is called after each batch. Each rank of a `group` is
    told of all batches, and computes its part of each.

    Raises:
        DivergedError: the loss is not finite, so that no metric means anything.
    """
    model.eval()
    reset_metrics(metrics)
    if outcomes is not None:
        outcomes.reset()
    total: Tensor | float = 0.0
    # Summed in double precision, the loss does not depend on the batch size. Apple's devices have only single.
    precision = torch.float32 if next(model.parameters()).device.type == "mps" else torch.float64
    for inputs, known in show(batches.epoch(epoch), total=len(batches), description="testing"):
        logits, targets = (model(inputs), known) if group is None else group.predict(model, inputs, known)
        total += nn.functional.cross_entropy(logits, targets, reduction="none").sum(dtype=precision)
        update_metrics(metrics, logits, targets)
        if outcomes is not None:
            outcomes.update(logits, targets)
        if after is not None:
            after()
    loss = float(total) / batches.samples
    if not isfinite(loss):
        why = "a model with such logits has no metrics"
        raise DivergedError(f"the test loss is {loss}", why, "Give lr=... a lower value")
    scores = {"loss": loss, **compute_metrics(metrics)}
    return scores if group is None else group.conclude(scores, batches.samples)
