"""The factories that registry.toml names: `resnet18` of this module builds torchvision's `resnet18`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import torchvision
from torch import nn

from zoo import UsageError
from zoo_plugins.catalogue import build_model

# zoo decides these: weights are random, and a model gives one tensor of logits in training too.
DECIDED = ("weights", "aux_logits")
# No auxiliary logits. Torch's own initialisation is quick; the one of torchvision is slow, and to be removed there.
ARGUMENTS = {name: {"aux_logits": False, "init_weights": False} for name in ("googlenet", "inception_v3")}
# ConvNeXt and MobileNetV3 ignore params that they do not know. They know these, beside the arguments of their classes.
KNOWN = ("width_mult", "reduced_tail", "dilated")


def __getattr__(name: str) -> Callable[..., nn.Module]:
    """Return the factory of a model.

    Raises:
        UsageError: the installed torchvision has no such model.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise UsageError(
            f"torchvision {torchvision.__version__} has no classification model {name!r}",
            fix="Install one that has it, pip install -U torchvision, or choose another model",
        )
    return partial(_build, name)


def _build(name: str, /, *, input_shape: tuple[int, ...], num_classes: int, **params: Any) -> nn.Module:
    """Build a model for `num_classes` classes.

    Raises:
        ValueError: torchvision does not take one of the params, or it is not theirs to decide.
    """
    fixed: dict[str, Any] = {"weights": None, "num_classes": num_classes, **ARGUMENTS.get(name, {})}
    model = build_model(f"torchvision's {name}", partial(torchvision.models.get_model, name, **fixed), params, DECIDED)
    for param in params:
        if param not in (*signature(type(model)).parameters, *KNOWN):
            raise ValueError(f"torchvision's {name} does not take {param}")
    return model
