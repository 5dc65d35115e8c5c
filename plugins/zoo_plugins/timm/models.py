"""The factories that registry.toml names: `resnet18` of this module builds timm's `resnet18`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from zoo.errors import UsageError
from zoo_plugins.texts import read_value

# What zoo decides: a classifier with random weights, nothing read from a file or the network.
DECIDED = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "in_chans", "features_only")


def __getattr__(name: str) -> Callable[..., nn.Module]:
    """Return the factory of a model.

    Raises:
        UsageError: timm is not installed, or the installed one has no such model.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UsageError(f"model {name!r} needs timm", "it is not installed", "pip install 'zoo-torch[timm]'") from None
    if not timm.is_model(name):
        raise UsageError(
            f"timm {timm.__version__} has no model {name!r}",
            fix="Install one that has it, pip install -U timm, or choose another model",
        )
    return partial(_build, name)


def _build(name: str, /, *, input_shape: tuple[int, ...], num_classes: int, **params: Any) -> nn.Module:
    """Build a model for images of `input_shape`, (channels, height, width), and `num_classes` classes.

    Raises:
        ValueError: timm does not take one of the params, or it is not theirs to decide.
    """
    import timm

    for param in params:
        if param in DECIDED:
            raise ValueError(f"{param}: zoo decides it, and models of this catalogue start from random weights")
    values = {param: read_value(value) for param, value in params.items()}
    config = timm.get_pretrained_cfg(name)
    # Only models that are made for one size of image take it as an argument.
    size = {"img_size": tuple(input_shape[1:])} if config is not None and config.fixed_input_size else {}
    arguments = {"in_chans": input_shape[0], **size, **values}
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        if not params:
            raise
        given = ", ".join(f"{param}={value!r}" for param, value in values.items())
        raise ValueError(f"timm's {name} does not take {given}: {error}") from error
    return model
