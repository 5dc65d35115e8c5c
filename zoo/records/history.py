"""History: what a training records of each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, TypedDict

Scored = Literal["train", "test"]
"""The splits that an epoch has scores of; "test" is that by which a training is watched, which may be validation."""


class Epoch(TypedDict):
    """One epoch, numbered from 1 on: the mean loss of the training, the scores of its evaluation, the seconds of both.

    `lr` is the learning rate of its last step, not that of the head where that has one of its own.

    The evaluation is on the validation split where there is one, and the test split is read at the end only. A score
    that was not finite is None when it was read from a file.
    """

    epoch: int
    lr: NotRequired[float]
    train: dict[str, float]
    test: NotRequired[dict[str, float]]
    validation: NotRequired[dict[str, float]]
    seconds: dict[str, float]


def watched_split(epoch: Epoch) -> Literal["validation", "test"]:
    """Return the split that an epoch was evaluated on."""
    return "validation" if "validation" in epoch else "test"


def watched_scores(epoch: Epoch) -> dict[str, float]:
    """Return the scores of the evaluation of an epoch."""
    return epoch[watched_split(epoch)]


def read_scores(epoch: Epoch, split: Scored) -> dict[str, float]:
    """Return the scores of the training, or of the evaluation, of an epoch."""
    return epoch["train"] if split == "train" else watched_scores(epoch)


def name_watched(histories: Iterable[Sequence[Epoch]]) -> str:
    """Return the name of what the epochs of several runs were evaluated on: test, validation, or both of them."""
    splits = {watched_split(epoch) for history in histories for epoch in history}
    return " or ".join(sorted(splits, reverse=True)) or "test"
