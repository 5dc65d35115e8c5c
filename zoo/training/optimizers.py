"""Optimizers: the ones that the settings can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zoo.registry.settings import TrainConfig

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    **{"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax},
    **{"nadam": torch.optim.NAdam, "radam": torch.optim.RAdam, "rmsprop": torch.optim.RMSprop},
    **{"adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta, "adafactor": torch.optim.Adafactor},
    **{"asgd": torch.optim.ASGD, "rprop": torch.optim.Rprop},
}


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimizer that the settings name, over all parameters that want a gradient."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr}
    if config.optimizer != "rprop":
        settings["weight_decay"] = config.weight_decay
    if config.optimizer == "sgd":
        settings["momentum"] = config.momentum
    if all(p.device.type == "cpu" for p in parameters):
        # torch would decide the same, but anew at every step, which costs small models a noticeable time.
        settings["foreach"] = False
    return OPTIMIZERS[config.optimizer](parameters, **settings)
