"""Augmentation: what the settings of a training do to its images, as one list of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import SettingError
from zoo.registry.settings import TrainConfig

if TYPE_CHECKING:
    from zoo.data.augment import Augment

SHORT = {"erase": "p", "mixup": "alpha", "cutmix": "alpha"}
"""The operations that are settings of their own, each with the param that its setting gives."""


def find_augment(config: TrainConfig) -> Augment | None:
    """Return the operations of `augment` and after them those that are settings of their own, None where nothing is
    asked for; torch is imported only where something is.

    What mixes images comes last, whichever way it was asked for.

    Raises:
        SettingError: an operation is asked for in both ways, or two that mix images.
        UsageError, UnknownNameError, SeveralErrors: see `zoo.augment.parse`.
    """
    asked = {name: getattr(config, name) for name in SHORT if getattr(config, name) is not None}
    if config.augment == TrainConfig.augment and not asked:
        return None
    from zoo.data.augment.mixing import Mixing
    from zoo.data.augment.pipeline import Augment, make_operation, parse

    operations = list(parse(config.augment).operations)
    for name, value in asked.items():
        if any(operation.name == name for operation in operations):
            raise SettingError(name, "is an operation of augment already", value, "Give it once")
        operations.append(make_operation(name, {SHORT[name]: value}))
    mixing = [operation for operation in operations if isinstance(operation, Mixing)]
    if len(mixing) > 1:
        names = " and ".join(operation.name for operation in mixing)
        raise SettingError(mixing[-1].name, f"cannot be used with another that mixes images: {names}", fix="Choose one")
    return Augment([*(operation for operation in operations if operation not in mixing), *mixing])
