"""Choice: which epoch is the best by its validation score, and when a training has none better to come."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from zoo.records.history import Epoch


@dataclass
class Choice:
    """Follows one validation score from epoch to epoch.

    Fields:
        monitor: Its name.
        higher_is_better: Whether more of it is better.
        patience: Epochs without a better one after which the training is over; None waits for the last.
        min_delta: By how much it must be better to count.
    """

    monitor: str
    higher_is_better: bool
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        self.epoch, self.value = 0, -inf if self.higher_is_better else inf

    def note(self, epoch: Epoch) -> bool:
        """Take in the scores of an epoch; return whether it is the best so far. Of equal ones the first is."""
        value = epoch["validation"][self.monitor]
        gain = value - self.value if self.higher_is_better else self.value - value
        if self.epoch and not gain > self.min_delta:
            return False
        self.epoch, self.value = epoch["epoch"], value
        return True

    def is_over(self, epoch: int) -> bool:
        """Tell whether no epoch has been better for so long that the training ends after this one."""
        return self.patience is not None and epoch - self.epoch >= self.patience
