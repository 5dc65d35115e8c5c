"""Streams of logits and targets that metrics are tried on, and how their values are read and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.checks.base import Fault
from zoo.checks.settings import keep_settings
from zoo.checks.subject import CLASSES, EntrySubject
from zoo.models.device import use_seed
from zoo.registry.factories import build_metric
from zoo.registry.metric import Metric
from zoo.registry.specs import MetricSpec
from zoo.training.metrics import compute_metrics

SAMPLES = 203
"""Samples of a stream."""

TOLERANCE = 1e-5
"""How far two values of the same samples may differ: float32 sums in another order differ by 1e-6."""

Batch = tuple[Tensor, Tensor]
"""Logits `(N, classes)` and targets `(N,)`."""


@dataclass
class MetricSubject(EntrySubject[MetricSpec]):
    """A metric to check, and what the first checks find out for the later ones."""

    classes: tuple[int, ...] = CLASSES
    """Those of CLASSES that it takes."""
    even: bool = False
    """Whether its value does not depend on the batches."""
    ordered: bool = False
    """Whether better predictions give better values."""
    slow: bool = False
    """Whether many classes or samples take so long that more of them are not tried."""

    def build(self, classes: int = 0) -> Metric:
        """Build the metric, for the first number of classes that it takes unless another is given."""
        with use_seed(0), keep_settings():
            return build_metric(self.entry, num_classes=classes or self.classes[0], params=self.params)

    def value(self, batches: Sequence[Batch], classes: int = 0) -> dict[str, float]:
        """Return what a new metric gives for some batches."""
        return evaluate(self.build(classes), batches)

    def make_stream(self, right: float = 0.6, seed: int = 0, margin: float = 0.5) -> Batch:
        """Return a stream of the first number of classes that it takes."""
        return make_stream(self.classes[0], right, seed, margin)


def make_stream(classes: int, right: float = 0.6, seed: int = 0, margin: float = 0.5, samples: int = SAMPLES) -> Batch:
    """Return logits `(samples, classes)` and targets; the share `right` have their highest logit at the target.

    The right ones come first, so that the batches differ. `margin` is the distance of the highest logit to the next.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (samples,), generator=generator)
    targets[:classes] = torch.arange(classes)
    logits = torch.randn(samples, classes, generator=generator)
    count = round(right * samples)
    chosen = targets.clone()
    chosen[count:] = (targets[count:] + 1) % classes
    logits[torch.arange(samples), chosen] = logits.max(dim=1).values + margin + torch.rand(samples, generator=generator)
    return logits, targets


def cut(stream: Batch, sizes: int | tuple[int, ...]) -> list[Batch]:
    """Return a stream as batches of these sizes."""
    logits, targets = stream
    return list(zip(logits.split(sizes), targets.split(sizes), strict=True))


def evaluate(metric: Metric, batches: Sequence[Batch]) -> dict[str, float]:
    """Reset a metric, give it batches and return its values, as an evaluation does; settings stay as they are."""
    with keep_settings(), torch.inference_mode():
        metric.reset()
        for batch in batches:
            update(metric, batch)
        return compute(metric)


def compute(metric: Metric) -> dict[str, float]:
    """Return the values of a metric by name; a single value is called "value"."""
    return {name.removeprefix("value."): value for name, value in compute_metrics({"value": metric}).items()}


def update(metric: Metric, batch: Batch) -> None:
    """Give a metric a copy of a batch, because it may change its input; check_inputs finds that."""
    metric.update(*(part.clone() for part in batch))


def require_same(
    expected: Mapping[str, float], values: Mapping[str, float], label: str, fix: str, tolerance: float = TOLERANCE
) -> None:
    """Raise Fault where values differ by more than `tolerance` of the expected; `label` says how both were made."""
    if expected.keys() != values.keys():
        name = next(iter(expected.keys() ^ values.keys()))
        raise Fault(f"{label}: {len(expected)} and {len(values)} values, only one has {name!r}", fix)
    for name, value in expected.items():
        same = math.isnan(value) and math.isnan(values[name])
        if not same and not abs(value - values[name]) <= tolerance * max(1.0, abs(value)):
            raise Fault(f"{label}: {name} {value:.6g} and {values[name]:.6g}", fix)
