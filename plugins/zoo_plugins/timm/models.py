"""The factories that registry.toml names: `resnet18` of this module builds timm's `resnet18`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from zoo import UsageError
from zoo_plugins.catalogue import build_model

# zoo decides these: models are classifiers with random weights, and nothing is read from a file or the network.
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
    """Build a model for images of `input_shape`, (channels, height, width); raise what `build_model` raises."""
    import timm

    config = timm.get_pretrained_cfg(name)
    # Only models that are made for one size of image take the size as an argument.
    size = {"img_size": tuple(input_shape[1:])} if config is not None and config.fixed_input_size else {}
    fixed: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": input_shape[0], **size}
    return build_model(f"timm's {name}", partial(timm.create_model, name, **fixed), params, DECIDED)
