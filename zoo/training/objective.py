"""Objective: what a training minimises: a loss, how much each class counts, and auxiliary logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.data.splits import DataSplits
from zoo.data.streams import refuse_stream
from zoo.data.validation import read_targets
from zoo.errors import DataError, ErrorCollector, SettingError, quote
from zoo.registry.entries import Entry
from zoo.registry.factories import build_loss, refuse_params
from zoo.registry.settings import CROSS_ENTROPY, TrainConfig
from zoo.registry.specs import LossSpec
from zoo.training.augmentation import find_augment
from zoo.training.choice import LOSS
from zoo.training.step import LossFunction

TRIED = 64
"""Classes that a loss is tried on before a training."""


def name_objective(loss: Entry[LossSpec] | None, metrics: Mapping[str, Any]) -> str:
    """Return what a record calls the objective: `loss` for cross-entropy, else the name of the loss."""
    if loss is None:
        return LOSS
    taken = loss.name == LOSS or any(f"{name}.".startswith(f"{loss.name}.") for name in metrics)
    return loss.qualified_name if taken else loss.name


def check_loss(loss: Entry[LossSpec] | None, config: TrainConfig, num_classes: int | None) -> None:
    """Refuse settings that do not go with the loss, or with the number of classes where that is declared.

    Raises:
        SettingError, SeveralErrors: every problem at once.
        ZooError: see `find_augment`.
    """
    errors = ErrorCollector()
    with errors.catch():
        mixing = getattr(find_augment(config), "mixing", None)
        if mixing is not None and loss is not None and not loss.spec.soft_targets:
            expected = f"mixes targets, and loss {quote(loss.name)} declares no soft_targets"
            raise SettingError(mixing.name, expected, fix="Leave it out, or choose another loss=...")
    with errors.catch():
        if loss is None and config.loss_params:
            raise SettingError("loss_params", f"{CROSS_ENTROPY} has no params", dict(config.loss_params))
    with errors.catch():
        if num_classes is not None:
            check_count(config, num_classes)
    errors.raise_any()


def check_count(config: TrainConfig, num_classes: int) -> None:
    """Raise SettingError where there are not as many weights as classes."""
    weights = config.class_weights
    if isinstance(weights, tuple) and len(weights) != num_classes:
        raise SettingError("class_weights", f"must be {num_classes} numbers, one for each class", weights)


def find_class_weights(config: TrainConfig, splits: DataSplits, dataset: str) -> Tensor | None:
    """Return how much a sample of each class counts, float32 `(classes,)`, None where all count alike.

    `balanced` gives class c the weight n / (C n_c) for n_c of n training samples and C classes, as scikit-learn's
    compute_class_weight does: the mean weight of a sample is 1, and each class has the same share of the loss.

    Raises:
        SettingError: there are not as many numbers as classes.
        DataError: a class has no samples to be balanced by.
        UsageError: there is nothing to count them in.
    """
    classes = len(splits.class_names)
    if config.class_weights is None:
        return None
    check_count(config, classes)
    if isinstance(config.class_weights, tuple):
        return torch.tensor(config.class_weights)
    why = "the samples of each class cannot be counted before it is read"
    refuse_stream(dataset, splits.train, "balanced class weights", why, "Give class_weights=... as numbers")
    counts = torch.bincount(torch.from_numpy(read_targets(splits.train)), minlength=classes)
    for name, count in zip(splits.class_names, counts.tolist(), strict=True):
        if not count:
            what = f"dataset {quote(dataset)}: class {quote(name)} has no training samples"
            raise DataError(what, "balanced weights divide by their number", "Give class_weights=... as numbers")
    return (counts.sum() / (classes * counts.to(torch.float64))).to(torch.float32)


def make_objective(
    loss: Entry[LossSpec] | None,
    params: Mapping[str, Any],
    class_weights: Tensor | None,
    aux_weights: Sequence[float],
    num_classes: int,
    device: torch.device,
) -> LossFunction:
    """Return what a training minimises, tried on the device; cross-entropy alone is torch's own function.

    Raises:
        PluginError: the loss cannot be built, fails, or gives no mean that can be minimised.
        UsageError: it refuses its params.
    """
    function: LossFunction = nn.functional.cross_entropy
    if class_weights is not None:
        function = WeightedCrossEntropy(class_weights.to(device))
    if loss is not None:
        with refuse_params(bool(params)):
            built = build_loss(loss, num_classes=num_classes, params=params)
        function = PluginLoss(loss, built.to(device) if isinstance(built, nn.Module) else built)
        function.rehearse(num_classes, device)
    return AuxiliaryLoss(function, tuple(aux_weights)) if aux_weights else function


class WeightedCrossEntropy:
    """Cross-entropy in which a sample counts as its class does: torch's mean, divided by the sum of the weights."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean of a batch; of soft targets torch divides by the number of samples."""
        return nn.functional.cross_entropy(logits, targets, weight=self.weights, label_smoothing=label_smoothing)

    def weigh(self, targets: Tensor) -> int | Tensor:
        """Return what a batch counts among several that make one step."""
        return len(targets) if targets.ndim > 1 else self.weights[targets].sum()


class PluginLoss:
    """A loss of a plugin: what it raises, and what it gives that is no loss, is told as an error of the plugin."""

    def __init__(self, entry: Entry[LossSpec], function: Callable[..., Any]) -> None:
        self.entry, self.function = entry, function

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of a batch; raise PluginError for anything that is no float tensor of one value."""
        with self.entry.blamed("failed"):
            value: Any = self.function(logits, targets)
        if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
            got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            self._refuse(f"expected the mean of the batch, a float tensor without axes, got {got}")
        if logits.requires_grad and not value.requires_grad:
            self._refuse("what it gives has no gradient: there is nothing to minimise", "Compute it in torch alone")
        return cast("Tensor", value)

    def rehearse(self, num_classes: int, device: torch.device) -> None:
        """Try it on samples of the first classes, with soft targets too where it takes them; raise PluginError."""
        targets = torch.arange(min(num_classes, TRIED) + 1, device=device) % num_classes
        soft = torch.full((len(targets), num_classes), 1 / num_classes, device=device)
        for given in (targets, soft) if self.entry.spec.soft_targets else (targets,):
            logits = nn.functional.one_hot(targets, num_classes).float().requires_grad_()
            value = self(logits, given)
            with self.entry.blamed("has no gradient"):
                value.backward()
            finite = logits.grad is not None and bool(torch.isfinite(logits.grad).all())
            if not (finite and bool(torch.isfinite(value))):
                told = f"{float(value)}" if finite else "a gradient that is not finite, or none"
                self._refuse(f"expected a finite loss and gradient for a few good predictions, got {told}")

    def _refuse(self, why: str, fix: str = "Return losses.mean()") -> None:
        raise self.entry.plugin.broken(f"loss {quote(self.entry.name)}", why, fix)


class AuxiliaryLoss:
    """The loss of the logits, and those of auxiliary ones by their weights, where a model gives these in training."""

    def __init__(self, function: LossFunction, weights: tuple[float, ...]) -> None:
        self.function, self.weights = function, weights

    def __call__(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor, **settings: Any) -> Tensor:
        """Return the sum of the losses; of logits alone, as in evaluation, their loss."""
        if isinstance(outputs, Tensor):
            return self.function(outputs, targets, **settings)
        logits, *others = outputs
        loss = self.function(logits, targets, **settings)
        for weight, other in zip(self.weights, others, strict=True):
            loss = loss + weight * self.function(other, targets, **settings)
        return loss

    def weigh(self, targets: Tensor) -> int | Tensor:
        """Return what a batch counts among several that make one step."""
        weigh: Callable[[Tensor], int | Tensor] = getattr(self.function, "weigh", len)
        return weigh(targets)


class MeanLoss:
    """A metric that is a loss: its mean per sample, so that what is minimised stands beside the scores."""

    def __init__(self, function: LossFunction) -> None:
        self.function = function
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.samples = 0
        self.total: Tensor | float = 0.0

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch: in double precision the mean does not depend on its size; Apple's devices have only single."""
        precision = torch.float32 if logits.device.type == "mps" else torch.float64
        self.total = self.total + self.function(logits, targets).to(precision) * len(targets)
        self.samples += len(targets)

    def compute(self) -> float:
        """Return the mean over all batches since the last reset."""
        return float(self.total) / self.samples
