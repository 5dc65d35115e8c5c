"""Drift: whether the inputs that a model is given look like those of its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.records.metadata import InputStatistics, TypicalSample

SAMPLES = 2048
"""Training inputs that are measured, evenly spread over the split: enough to tell a spread to a few percent."""

LIMIT = 6.0
"""Standard errors that the mean brightness or contrast of a batch may lie off before it is warned about. Batches are no
random samples, all of one class say, so this is far wider than chance; for the same reason the standard error is taken
for COUNTED samples at most."""

COUNTED = 16

FLAT = 16
"""A sample that has less than this part of the training's range is taken to be empty, or scaled twice."""
IMAGES = 4
"""Axes of a batch of images."""
ENOUGH = 64
"""Samples from which on it is said what is typical of a single one."""
LEAST_LIMIT = 16.27
"""The squared distance that one sample of a thousand exceeds where three traits are distributed normally: the 0.999
quantile of chi-squared with three degrees of freedom."""
QUANTILE, MARGIN = 0.995, 1.1
"""Traits have longer tails than that: the limit is also this quantile of the training samples, and a tenth more."""

Change = Callable[[Tensor, float, float], Tensor]
CHANGES: dict[str, Change] = {
    "inverted": lambda inputs, low, high: low + high - inputs,
    "unscaled": lambda inputs, low, high: low + 255 * (inputs - low),
    "scaled twice": lambda inputs, low, high: low + (inputs - low) / 255,
}
"""What is done wrongly to images most often, here done to inputs; those of the training reach from `low` to `high`."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What inputs look like, each field a number for each sample, `(N,)`: measured once, and asked in many ways.

    `border` is the mean of the outermost pixels of images, None for other inputs.
    """

    least: Tensor
    most: Tensor
    mean: Tensor
    contrast: Tensor
    border: Tensor | None

    @property
    def traits(self) -> Tensor:
        """What tells samples apart, float64 `(N, 2 or 3)`."""
        known = [self.mean, self.contrast] if self.border is None else [self.mean, self.contrast, self.border]
        return torch.stack(known, dim=1).double()


def look_at(inputs: Tensor) -> Look:
    """Measure inputs `(N, C, H, W)`, or of any other shape."""
    flat, border = inputs.flatten(1), None
    if inputs.ndim == IMAGES:
        rows, columns = inputs[..., [0, -1], :], inputs[..., [0, -1]]
        border = torch.cat([rows.flatten(1), columns.flatten(1)], dim=1).mean(dim=1)
    least, most = flat.amin(dim=1), flat.amax(dim=1)
    return Look(least=least, most=most, mean=flat.mean(dim=1), contrast=flat.std(dim=1, correction=0), border=border)


def measure_inputs(inputs: Sequence[Tensor], others: Sequence[Tensor] = ()) -> InputStatistics:
    """Return what is typical of inputs `(N, C, H, W)`, or of any other shape, in float32 after preprocessing.

    `others` were not trained on: they tell how often a single sample is warned about. Without any, `inputs` tell it.
    Standard deviations are those of a population: divided by N.
    """
    looks = [look_at(batch) for batch in inputs]
    means, contrasts = torch.cat([look.mean for look in looks]), torch.cat([look.contrast for look in looks])
    statistics = InputStatistics(
        low=float(min(look.least.min() for look in looks)),
        high=float(max(look.most.max() for look in looks)),
        mean=(float(means.mean()), float(means.std(correction=0))),
        contrast=(float(contrasts.mean()), float(contrasts.std(correction=0))),
    )
    if sum(map(len, inputs)) < ENOUGH:
        return statistics
    statistics = replace(statistics, typical=_find_typical(looks, statistics))
    others = others or inputs
    clean = _count_warned(lambda inputs, low, high: inputs, others, statistics)
    # What is changed is warned about nearly always or hardly ever: fewer samples tell which.
    changed = {name: _count_warned(change, others[:1], statistics) for name, change in CHANGES.items()}
    return replace(statistics, warned={"clean": clean, **changed})


def _find_typical(looks: Sequence[Look], statistics: InputStatistics) -> TypicalSample:
    traits = torch.cat([look.traits for look in looks])
    # A trait that hardly varies, a border that is always black, may be off by a hundredth of the range: pictures are
    # compressed with losses.
    least = (max(statistics.high - statistics.low, 1e-6) / 100) ** 2
    spread = torch.cov(traits.T) + least * torch.eye(traits.shape[1], dtype=traits.dtype)
    centre, precision = traits.mean(dim=0), torch.linalg.inv(spread)
    typical = TypicalSample(
        centre=tuple(centre.tolist()), precision=tuple(tuple(row) for row in precision.tolist()), limit=0.0
    )
    distances = torch.cat([_measure_distances(look, typical) for look in looks])
    return replace(typical, limit=max(LEAST_LIMIT, MARGIN * float(distances.quantile(QUANTILE))))


def _count_warned(change: Change, inputs: Sequence[Tensor], statistics: InputStatistics) -> float:
    """Return the share of samples that are warned about one by one when they were changed."""
    low, high = statistics.low, statistics.high
    odd = [_are_odd(look_at(change(batch, low, high)), statistics) for batch in inputs]
    return float(torch.cat(odd).double().mean())


def find_oddity(inputs: Tensor, statistics: InputStatistics) -> str | None:
    """Return in what way inputs differ from those of the training, or None when they look alike.

    A batch differs when its mean brightness or contrast does, when its values do, or when most of its samples do.
    """
    low, high, look = statistics.low, statistics.high, look_at(inputs)
    least, most, span = float(look.least.min()), float(look.most.max()), max(high - low, 1e-6)
    if most > high + span or least < low - span or _is_most(_are_beyond(look, statistics)):
        return f"they look unscaled: values of {least:.3g} to {most:.3g}, in training {low:.3g} to {high:.3g}"
    if _has_range(statistics) and most - least < span / FLAT:
        return f"they look scaled twice, or empty: values of {least:.3g} to {most:.3g}"
    if not _is_unlike(look, statistics):
        return None
    if not _is_unlike(look_at(CHANGES["inverted"](inputs, low, high)), statistics):
        return "they look inverted: dark where the training images are bright"
    seen = f"mean {float(look.mean.mean()):.3g} and contrast {float(look.contrast.mean()):.3g}"
    usual = f"{statistics.mean[0]:.3g} and {statistics.contrast[0]:.3g}"
    return f"they look unlike those of the training: {seen}, in training {usual}"


def _has_range(statistics: InputStatistics) -> bool:
    """Tell whether a sample has a range of its own: those of a single value, or of nearly equal ones, have none."""
    return statistics.contrast[0] > max(statistics.high - statistics.low, 1e-6) / 32


def _is_most(odd: Tensor) -> bool:
    return 2 * int(odd.sum()) > len(odd)


def _is_unlike(look: Look, statistics: InputStatistics) -> bool:
    return _is_far(look, statistics) or _is_most(_are_odd(look, statistics))


def _is_far(look: Look, statistics: InputStatistics) -> bool:
    count = min(len(look.mean), COUNTED) ** 0.5
    return bool(_count_errors(look.mean.mean(), look.contrast.mean(), statistics) * count > LIMIT)


def _count_errors(means: Tensor, contrasts: Tensor, statistics: InputStatistics) -> Tensor:
    """Return how many standard deviations the mean or the contrast is off, whichever is more."""
    off = [
        (values - centre).abs() / max(spread, 1e-6)
        for values, (centre, spread) in ((means, statistics.mean), (contrasts, statistics.contrast))
    ]
    return torch.maximum(*off)


def _are_odd(look: Look, statistics: InputStatistics) -> Tensor:
    """Return of each sample whether it alone is unlike those of the training; none is where they are not known."""
    if statistics.typical is None:
        return torch.zeros(len(look.mean), dtype=torch.bool)
    odd = ~(_measure_distances(look, statistics.typical) <= statistics.typical.limit)
    odd |= _count_errors(look.mean, look.contrast, statistics) > LIMIT
    if _has_range(statistics):
        odd |= look.most - look.least < max(statistics.high - statistics.low, 1e-6) / FLAT
    return odd | _are_beyond(look, statistics)


def _are_beyond(look: Look, statistics: InputStatistics) -> Tensor:
    """Return of each sample whether it reaches beyond the training's values; images may do so less than others."""
    span = max(statistics.high - statistics.low, 1e-6)
    room = span / 4 if look.border is not None and statistics.typical is not None else span
    return (look.most > statistics.high + room) | (look.least < statistics.low - room)


def _measure_distances(look: Look, typical: TypicalSample) -> Tensor:
    """Return how far samples lie from the typical one: the squared Mahalanobis distance of their traits, `(N,)`."""
    off = look.traits - torch.tensor(typical.centre, dtype=torch.float64)
    return ((off @ torch.tensor(typical.precision, dtype=torch.float64)) * off).sum(dim=1)
