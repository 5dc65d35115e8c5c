"""The trainer: the loop over epochs, the loop over batches, and evaluation. It takes objects, not names or files."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from zoo.data.batches import Batches
from zoo.errors import DivergedError
from zoo.models.freezing import unfreeze
from zoo.records.history import Epoch
from zoo.registry.metric import Metric
from zoo.registry.settings import TrainConfig
from zoo.training import course
from zoo.training.choice import Choice
from zoo.training.losses import Losses
from zoo.training.metrics import compute_metrics, reset_metrics, update_metrics
from zoo.training.optimizers import build_optimizer
from zoo.training.progress import Progress, no_progress
from zoo.training.schedules import Schedule, build_schedule
from zoo.training.signals import defer_signals
from zoo.training.snapshot import Snapshot
from zoo.training.step import LossFunction, TrainStep, build_step

if TYPE_CHECKING:
    from zoo.training.predictions import OutcomeCollector


@dataclass
class Trainer:
    """Trains a model: all state of a training is that of its model, its optimizer, its schedule and its history.

    `head` and `later` are names of parameters: those that have a rate of their own, and those that are frozen until
    the epoch in which the settings let them be trained.
    """

    model: nn.Module
    config: TrainConfig
    device: torch.device
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    loss_function: LossFunction = nn.functional.cross_entropy
    show: Progress = no_progress
    on_epoch: Callable[[Epoch], None] | None = None
    outcomes: OutcomeCollector | None = None
    head: Collection[str] = ()
    later: Collection[str] = ()

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.model, self.config, head=self.head, later=self.later)
        self.schedule: Schedule | None = None
        self.history: list[Epoch] = []
        self.snapshot = Snapshot()
        self.choice: Choice | None = None

    def fit(self, train: Batches, test: Batches, choice: Choice | None = None) -> list[Epoch]:
        """Train for the epochs of the settings, evaluating on `test` after each; return the history.

        With a choice `test` is the validation split: the best epoch is noted and kept, and the training may end before
        its last epoch. Without one `outcomes` collects the predictions of the last evaluation.

        Raises:
            DivergedError: a loss is not finite.
        """
        self.choice = choice
        split: Literal["validation", "test"] = "validation" if choice else "test"
        self.schedule = build_schedule(self.optimizer, self.config, len(train), choice)
        step = build_step(self.model, self.loss_function, self.optimizer, self.schedule, self.config)
        losses = Losses(self.device)
        for epoch in range(len(self.history), self.config.epochs):
            if self.config.unfreeze_at is not None and epoch + 1 >= self.config.unfreeze_at:
                unfreeze(self.model, self.later)
            started = time.perf_counter()
            loss = train_one_epoch(self.model, step, train, losses, epoch, self.show)
            trained = time.perf_counter()
            outcomes = self.outcomes if choice is None and epoch + 1 == self.config.epochs else None
            scores = evaluate(self.model, test, self.metrics, epoch=epoch, show=self.show, outcomes=outcomes)
            seconds = {"train": trained - started, split: time.perf_counter() - trained}
            losses_told = {"loss": loss}
            if course.NAME in self.metrics:
                losses_told[course.LOSS] = losses.mean_over_batches()
            rate = self.schedule.rate if self.schedule else float(self.optimizer.param_groups[0]["lr"])
            told: Epoch = {"epoch": epoch + 1, "lr": rate, "train": losses_told, "seconds": seconds}
            told[split] = scores
            if self.schedule is not None:
                self.schedule.finish_epoch(scores)
            self.finish_epoch(told)
            if self.on_epoch is not None:
                self.on_epoch(self.history[-1])
            if choice is not None and choice.is_over(epoch + 1):
                break
        return self.history

    def finish_epoch(self, epoch: Epoch) -> None:
        """Keep what an epoch came to, and the model as it is now where another epoch is to change it."""
        with defer_signals():
            self.history.append(epoch)
            wanted = len(self.history) < self.config.epochs
            if self.choice is not None:
                wanted = self.choice.note(epoch)
            if wanted:
                self.snapshot.take(self.model)

    def restore(self) -> bool:
        """Give the model back what it was after the best epoch, or the last finished one where none is chosen.

        Return whether there was one.
        """
        finished = len(self.history)
        if self.choice is not None:
            return finished > 0 and self.snapshot.restore(self.model)
        return finished > 0 and (finished == self.config.epochs or self.snapshot.restore(self.model))


def train_one_epoch(
    model: nn.Module, step: TrainStep, batches: Batches, losses: Losses, epoch: int, show: Progress
) -> float:
    """Train on every batch once; return the mean loss per sample."""
    model.train()
    losses.start(epoch)
    shown = show(batches.epoch(epoch), total=len(batches), description=f"epoch {epoch + 1}", status=losses.status)
    for inputs, targets in shown:
        losses.add(step(inputs, targets), len(targets))
    step.finish()
    return losses.mean()


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Batches,
    metrics: Mapping[str, Metric],
    *,
    epoch: int = 0,
    show: Progress = no_progress,
    outcomes: OutcomeCollector | None = None,
) -> dict[str, float]:
    """Return the mean cross-entropy per sample as `loss`, and the metrics; the same for any batch size.

    `outcomes` collects what is predicted for each sample.

    Raises:
        DivergedError: the loss is not finite, so that no metric means anything.
    """
    model.eval()
    reset_metrics(metrics)
    if outcomes is not None:
        outcomes.reset()
    total: Tensor | float = 0.0
    # Summed in double precision, the loss does not depend on the batch size. Apple's devices have only single.
    on_mps = next(model.parameters()).device.type == "mps"
    precision = torch.float32 if on_mps else torch.float64
    for inputs, targets in show(batches.epoch(epoch), total=len(batches), description="testing"):
        logits = model(inputs)
        total += nn.functional.cross_entropy(logits, targets, reduction="none").sum(dtype=precision)
        update_metrics(metrics, logits, targets)
        if outcomes is not None:
            outcomes.update(logits, targets)
    loss = float(total) / batches.samples
    if not isfinite(loss):
        raise DivergedError(f"the test loss is {loss}", "a model with such logits has no metrics", "Use a lower lr=...")
    return {"loss": loss, **compute_metrics(metrics)}
