"""Drift: whether the inputs that a model is given look like those of its training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from zoo.records.metadata import InputStatistics

SAMPLES = 2048
"""Training inputs that are measured, evenly spread over the split: enough to tell a spread to a few percent."""

LIMIT = 6.0
"""Standard errors that the mean brightness or contrast of a batch may lie off before it is warned about. Batches are no
random samples, all of one class say, so this is far wider than chance; for the same reason the standard error is taken
for COUNTED samples at most."""

COUNTED = 16


def measure_inputs(inputs: Iterable[Tensor]) -> InputStatistics:
    """Return what is typical of inputs `(N, C, H, W)`, in float32 after preprocessing.

    Standard deviations are those of a population: divided by N.
    """
    parts = [(*_describe(batch), batch.min(), batch.max()) for batch in inputs]
    means, contrasts = (torch.cat([part[index] for part in parts]) for index in (0, 1))
    return InputStatistics(
        low=float(min(part[2] for part in parts)),
        high=float(max(part[3] for part in parts)),
        mean=(float(means.mean()), float(means.std(correction=0))),
        contrast=(float(contrasts.mean()), float(contrasts.std(correction=0))),
    )


def find_oddity(inputs: Tensor, statistics: InputStatistics) -> str | None:
    """Return in what way inputs differ from those of the training, or None when they look alike."""
    low, high = statistics.low, statistics.high
    span = max(high - low, 1e-6)
    if float(inputs.max()) > high + span or float(inputs.min()) < low - span:
        found = f"{float(inputs.min()):.3g} to {float(inputs.max()):.3g}"
        return f"they look unscaled: values of {found}, in training {low:.3g} to {high:.3g}"
    # Samples of a single value, or of nearly equal ones, have no range of their own.
    ranged = statistics.contrast[0] > span / 32
    if ranged and float(inputs.max()) - float(inputs.min()) < span / 16:
        return f"they look scaled twice, or empty: values of {float(inputs.min()):.3g} to {float(inputs.max()):.3g}"
    if not _is_far(inputs, statistics):
        return None
    if not _is_far(low + high - inputs, statistics):
        return "they look inverted: dark where the training images are bright"
    means, contrasts = _describe(inputs)
    seen = f"mean {float(means.mean()):.3g} and contrast {float(contrasts.mean()):.3g}"
    usual = f"{statistics.mean[0]:.3g} and {statistics.contrast[0]:.3g}"
    return f"they look unlike those of the training: {seen}, in training {usual}"


def _describe(inputs: Tensor) -> tuple[Tensor, Tensor]:
    flat = inputs.flatten(1)
    return flat.mean(dim=1), flat.std(dim=1, correction=0)


def _is_far(inputs: Tensor, statistics: InputStatistics) -> bool:
    means, contrasts = _describe(inputs)
    distances: list[float] = []
    for values, (centre, spread) in ((means, statistics.mean), (contrasts, statistics.contrast)):
        error = max(spread, 1e-6) / min(len(values), COUNTED) ** 0.5
        distances.append(abs(float(values.mean()) - centre) / error)
    return bool(max(distances) > LIMIT)
