"""Streams of logits and targets that metrics are tried on, and how their values are read and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zoo.checks.source import find_definition
from zoo.checks.surroundings import keep_settings
from zoo.models.device import use_seed
from zoo.registry.entries import Entry
from zoo.registry.factories import build_metric, load_factory
from zoo.registry.metric import Metric
from zoo.registry.specs import MetricSpec
from zoo.training.metrics import compute_metrics

CLASSES = (10, 3, 2)
SAMPLES = 203
SIZES = (1, 64, 7, 100, 31)
"""Uneven batches: a mean of their means is not the mean over the samples."""

MANY, BATCH = 20_000, 61
"""A stream too long for counts of 8 bits and sums of 16: 2048 + 1 is 2048 in float16, 256 + 1 is 256 in bfloat16."""

MANY_TOLERANCE = 1e-4
"""How far values over so many may differ: float32 sums that are added to one by one do by half of that."""

TOLERANCE = 1e-5
"""How far two values of the same samples may differ: sums of float32 numbers in another order do by 1e-6."""

Batch = tuple[Tensor, Tensor]


@dataclass
class MetricSubject:
    """A metric to check: its entry and params."""

    entry: Entry[MetricSpec]
    params: dict[str, Any] = field(default_factory=dict)
    classes: tuple[int, ...] = CLASSES  # those of CLASSES that it takes
    even: bool = False  # whether it treats batches alike
    ordered: bool = False  # whether better predictions give better values

    def build(self, classes: int = 0) -> Metric:
        """Build the metric, for the first number of classes that it takes."""
        with use_seed(0), keep_settings():
            return build_metric(self.entry, num_classes=classes or self.classes[0], params=self.params)

    def value(self, batches: Sequence[Batch], classes: int = 0) -> dict[str, float]:
        """Return what a new metric gives for some batches."""
        return feed(self.build(classes), batches)

    def make_stream(self, right: float = 0.6, seed: int = 0, margin: float = 0.5) -> Batch:
        """Return a stream of the first number of classes that it takes."""
        return make_stream(self.classes[0], right, seed, margin)

    @property
    def definition(self) -> str:
        """`file:line` of the factory."""
        return find_definition(load_factory(self.entry))


def make_stream(classes: int, right: float = 0.6, seed: int = 0, margin: float = 0.5, samples: int = SAMPLES) -> Batch:
    """Return logits `(samples, classes)` and targets; the share `right` have their highest logit at the target.

    Those come first, so that batches differ from one another. `margin` is how far the highest logit stands out.
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


def feed(metric: Metric, batches: Sequence[Batch]) -> dict[str, float]:
    """Reset a metric, give it batches and return its values, as an evaluation does."""
    with keep_settings(), torch.inference_mode():
        return _feed(metric, batches)


def _feed(metric: Metric, batches: Sequence[Batch]) -> dict[str, float]:
    metric.reset()
    for batch in batches:
        update(metric, batch)
    return compute_metrics({"value": metric})


def update(metric: Metric, batch: Batch) -> None:
    """Give a metric a copy of a batch: whether it changes its input is the matter of one check."""
    metric.update(*(part.clone() for part in batch))


def cut(stream: Batch) -> list[Batch]:
    """Cut a stream into uneven batches."""
    logits, targets = stream
    return list(zip(logits.split(SIZES), targets.split(SIZES), strict=True))


def differ(one: Mapping[str, float], other: Mapping[str, float], tolerance: float = TOLERANCE) -> str:
    """Return in words where two results differ, "" when they do not."""
    if one.keys() != other.keys():
        name = next(iter(one.keys() ^ other.keys()))
        return f"{len(one)} and {len(other)} values, only one has {name.removeprefix('value.')!r}"
    for name, value in one.items():
        same = math.isnan(value) and math.isnan(other[name])
        if not same and not abs(value - other[name]) <= tolerance * max(1.0, abs(value)):
            return f"{name.removeprefix('value.')} {value:.6g} and {other[name]:.6g}"
    return ""
