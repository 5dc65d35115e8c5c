"""History: what a training records of each epoch."""

from __future__ import annotations

from typing import Literal, TypedDict

Scored = Literal["train", "test"]
"""The splits that an epoch has scores of."""


class Epoch(TypedDict):
    """One epoch, numbered from 1 on: the mean loss of the training, the scores on the test split, the seconds of both.

    A score that was not finite is None when it was read from a file.
    """

    epoch: int
    train: dict[str, float]
    test: dict[str, float]
    seconds: dict[str, float]
