"""Choice: which epoch is the best by its validation score, and when a training has none better to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from zoo.errors import ErrorCollector, SettingError
from zoo.records.history import Epoch
from zoo.registry.settings import TrainConfig

LOSS = "loss"
"""What the records call the cross-entropy. Another loss goes by its own name: nobody shall take one for the other."""
NEEDS_VALIDATION = ("needs a validation split to see a plateau", "plateau", "Add validation=0.1")
"""What is said of a plateau schedule without one, as parts of a SettingError."""


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


def make_choice(config: TrainConfig, objective: str, metrics: Mapping[str, bool]) -> Choice:
    """Return what chooses the best epoch; `objective` is what the records call the loss that is minimised.

    `metrics` tells of each metric whether more of it is better.

    Raises:
        SettingError: the run has no such score.
    """
    losses = list(dict.fromkeys([LOSS, objective]))
    owners = [name for name in metrics if f"{config.monitor}.".startswith(f"{name}.")]
    if config.monitor not in losses and not owners:
        known = ", ".join([*losses, *metrics])
        raise SettingError("monitor", f"must be a score of this run, {known}", config.monitor)
    higher = config.monitor not in losses and metrics[max(owners, key=len)]
    return Choice(config.monitor, higher, config.patience, config.min_delta)


def check_unvalidated(config: TrainConfig) -> None:
    """Refuse settings that are for a validation split where there is none; raise SettingError or SeveralErrors."""
    errors, default = ErrorCollector(), TrainConfig()
    for name in ("split_seed", "monitor", "patience", "min_delta"):
        if (value := getattr(config, name)) != getattr(default, name):
            errors.errors.append(SettingError(name, "needs a validation split", value, "Add validation=0.1"))
    if config.schedule == "plateau":
        errors.errors.append(SettingError("schedule", *NEEDS_VALIDATION))
    errors.raise_any()
