"""Verdict: what is wrong with a model as its predictions show it, in sentences; nothing where all is well."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import log as ln

import numpy

from zoo.errors import quote
from zoo.training.collapse import FEW
from zoo.training.predictions import Outcomes

log = logging.getLogger("zoo")

FAR = 1.5
"""Times the loss of guessing that a test loss may have: a model that overfits exceeds it once, one that is as it was
built comes close to it."""
SHOWN = 3
"""Class names in a sentence."""


def find_verdict(outcomes: Outcomes, loss: float) -> tuple[str, ...]:
    """Return what is wrong with a model whose predictions these are, and whose mean cross-entropy is `loss` in nats."""
    targets, predictions = outcomes.arrays["targets"], outcomes.arrays["predictions"]
    classes, count = len(outcomes.class_names), len(outcomes)
    if count < FEW or targets.min() == targets.max():
        return ()
    told = []
    support = numpy.bincount(targets, minlength=classes)
    predicted = numpy.bincount(predictions, minlength=classes)
    right, most = int(outcomes.hits.sum()), int(support.max())
    # Two standard errors of a share, that of the largest class, over so many samples.
    chance = 2 * (most * (1 - most / count)) ** 0.5
    missing = [outcomes.class_names[index] for index in numpy.flatnonzero((predicted == 0) & (support > 0))]
    if len(missing) >= classes - 1 or int(predicted.max()) == count:
        name = quote(outcomes.class_names[int(predicted.argmax())])
        told.append(f"it predicts {name} for all {count:,} test samples: it has learned nothing")
    elif right <= most + chance:
        name = quote(outcomes.class_names[int(support.argmax())])
        told.append(f"it is right {right:,} times of {count:,}: always predicting {name} gives {most:,}")
    elif missing:
        told.append(f"it never predicts {len(missing):,} of {classes:,} classes: {_list_names(missing)}")
    if loss > FAR * ln(classes):
        what = f"its test loss of {loss:,.4g} is above {ln(classes):.4g}, that of guessing among {classes:,} classes"
        told.append(f"{what}: it is sure of wrong answers")
    return tuple(told)


def tell_verdict(model: str, verdict: Sequence[str]) -> None:
    """Warn of what is wrong with a model, on one line."""
    if verdict:
        advice = "Try a smaller learning rate, another number of epochs or another model"
        log.warning("model %s: %s. %s", quote(model), "; ".join(verdict), advice)


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(quote, names[:SHOWN])) + more
