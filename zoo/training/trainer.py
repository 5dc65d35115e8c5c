"""The trainer: the loop over epochs, the loop over batches, and evaluation. It takes objects, not names or files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.data.batches import Batches
from zoo.errors import DivergedError
from zoo.registry.settings import TrainConfig
from zoo.training.metrics import Metric, compute_metrics, reset_metrics, update_metrics
from zoo.training.progress import Progress, no_progress

if TYPE_CHECKING:
    from zoo.training.predictions import OutcomeCollector

LossFunction = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]
Epoch = dict[str, Any]
"""`{"epoch", "train": {"loss"}, "test": {"loss", metrics}, "seconds": {"train", "test"}}`."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimizer that the settings name, over all parameters that want a gradient."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        settings["momentum"] = config.momentum
    if all(p.device.type == "cpu" for p in parameters):
        # What torch decides here anyway; deciding it anew at every step is felt in small ones.
        settings["foreach"] = False
    return OPTIMIZERS[config.optimizer](parameters, **settings)


def make_step(model: nn.Module, loss_function: LossFunction, optimizer: torch.optim.Optimizer) -> Step:
    """Return one training step: forward, loss, backward, update. It gives the loss and reads nothing back."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        loss = loss_function(model(inputs), targets)
        for parameter in parameters:  # what optimizer.zero_grad() does, without its profiler record around it
            parameter.grad = None
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def train_one_epoch(
    model: nn.Module, step: Step, batches: Batches, losses: Losses, epoch: int, show: Progress
) -> float:
    """Train on every batch once; return the mean loss per sample."""
    model.train()
    losses.start(epoch)
    shown = show(batches.epoch(epoch), total=len(batches), description=f"epoch {epoch + 1}", status=losses.status)
    for inputs, targets in shown:
        losses.add(step(inputs, targets), len(targets))
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
    # Sums in double precision, so that the batch size does not show; Apple's devices have none.
    precision = torch.float32 if batches_on_mps(model) else torch.float64
    for inputs, targets in show(batches.epoch(epoch), total=len(batches), description="testing"):
        logits = model(inputs)
        total += nn.functional.cross_entropy(logits, targets, reduction="none").sum(dtype=precision)
        update_metrics(metrics, logits, targets)
        if outcomes is not None:
            outcomes.update(logits, targets)
    loss = float(total) / batches.samples
    if not isfinite(loss):
        raise DivergedError(f"the test loss is {loss}", "a model with such logits has no metrics", "Lower the --lr")
    return {"loss": loss, **compute_metrics(metrics)}


def batches_on_mps(model: nn.Module) -> bool:
    """Tell whether the model lives on an Apple device."""
    return next(model.parameters()).device.type == "mps"


class Losses:
    """The losses of an epoch, watched for the first one that is not finite.

    On the CPU each step's loss is read at once, which costs nothing there. On an accelerator reading one would wait for
    the device, so they stay there and are read every READ_EVERY steps, when the bar is redrawn, and at the end.
    """

    READ_EVERY = 1000

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type != "cpu"
        self.start(0)

    def start(self, epoch: int) -> None:
        """Forget the former epoch."""
        self.epoch, self.steps, self.samples, self.total, self.last = epoch, 0, 0, 0.0, 0.0
        self.unread: list[tuple[Tensor, int]] = []

    def add(self, loss: Tensor, samples: int) -> None:
        """Take the mean loss of a batch.

        Raises:
            DivergedError: it is not finite; names the step.
        """
        if self.waits:
            self.unread.append((loss, samples))
            if len(self.unread) >= self.READ_EVERY:
                self._read()
        else:
            self._count(loss.item(), samples)

    def mean(self) -> float:
        """Return the mean loss per sample so far."""
        self._read()
        return self.total / self.samples

    def status(self) -> str:
        """Return the latest loss, for the bar."""
        self._read()
        return f"loss {self.last:.4f}"

    def _read(self) -> None:
        if self.unread:
            values = torch.stack([loss for loss, _ in self.unread]).tolist()
            counts = [samples for _, samples in self.unread]
            self.unread = []
            for value, samples in zip(values, counts, strict=True):
                self._count(value, samples)

    def _count(self, value: float, samples: int) -> None:
        self.steps += 1
        if not isfinite(value):
            raise DivergedError(
                f"the loss became {value} at step {self.steps} of epoch {self.epoch + 1}", fix="Lower the --lr"
            )
        self.last = value
        self.total += value * samples
        self.samples += samples


@dataclass
class Trainer:
    """Trains a model: all state of a training sits in its model, its optimizer and the number of epochs done."""

    model: nn.Module
    config: TrainConfig
    device: torch.device
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    loss_function: LossFunction = nn.functional.cross_entropy
    show: Progress = no_progress
    on_epoch: Callable[[Epoch], None] | None = None
    outcomes: OutcomeCollector | None = None

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.model, self.config)
        self.history: list[Epoch] = []

    def fit(self, train: Batches, test: Batches) -> list[Epoch]:
        """Train for the epochs of the settings, evaluating after each; return the history.

        `outcomes` collects the predictions of the last evaluation.

        Raises:
            DivergedError: a loss is not finite.
        """
        step = make_step(self.model, self.loss_function, self.optimizer)
        losses = Losses(self.device)
        for epoch in range(len(self.history), self.config.epochs):
            started = time.perf_counter()
            loss = train_one_epoch(self.model, step, train, losses, epoch, self.show)
            trained = time.perf_counter()
            outcomes = self.outcomes if epoch + 1 == self.config.epochs else None
            scores = evaluate(self.model, test, self.metrics, epoch=epoch, show=self.show, outcomes=outcomes)
            seconds = {"train": trained - started, "test": time.perf_counter() - trained}
            self.history.append({"epoch": epoch + 1, "train": {"loss": loss}, "test": scores, "seconds": seconds})
            if self.on_epoch is not None:
                self.on_epoch(self.history[-1])
        return self.history
