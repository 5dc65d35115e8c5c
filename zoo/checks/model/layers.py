"""Layers of a model: which line built them, how findings call them, and hooks that watch them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn

from zoo.checks.source import find_caller

CREATED = "_zoo_created_at"


@contextmanager
def record_creation() -> Iterator[None]:
    """Let every module that the body builds remember the plugin's line that built it; `find_creation` reads it."""
    original = nn.Module.__init__

    def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        # Written past nn.Module.__setattr__, so that it never becomes part of a state dict.
        self.__dict__[CREATED] = find_caller(self)

    with patch.object(nn.Module, "__init__", init):
        yield


def find_creation(layer: nn.Module | None) -> str:
    """Return `file:line` of the plugin's code that built a layer under `record_creation`, "" when unknown."""
    return "" if layer is None else str(layer.__dict__.get(CREATED, ""))


def describe_layer(model: nn.Module, layer: nn.Module) -> str:
    """Return a layer's path in the model and its class, as in `layers.4 (ReLU)`."""
    path = next(path for path, module in model.named_modules() if module is layer)
    return f"{path} ({type(layer).__name__})"


def list_layers(model: nn.Module) -> list[nn.Module]:
    """Return the modules below the model that have no modules of their own."""
    return [module for module in model.modules() if module is not model and not any(module.children())]
