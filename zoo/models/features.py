"""Features: what a model makes of an input before its head tells the classes apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.head import choose_head
from zoo.models.layers import hooked
from zoo.models.probe import modes
from zoo.registry.global_state import keep_state

OWN = "forward_head(pre_logits=True)"
"""Where features are from of a model that has its own."""


class FeatureExtractor:
    """Gives the features `(N, width)` of inputs `(N, *input_shape)`.

    A model with the methods `forward_features(inputs)` and `forward_head(features, pre_logits=True)`, as timm's have
    them, says itself what they are. Of any other they are the input of the last layer that is linear and gives the
    logits: an `nn.Linear`, or a convolution of 1x1, whose input is averaged over its places. Tokens are averaged too.

    Fields:
        layer: The name of that layer, or OWN.
        width: How many numbers the features of one input are.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> None:
        """Find out where the features are, by a pass of zeros.

        Raises:
            UsageError: no layer is known to be linear and to give the logits.
        """
        self._model: Any = model
        self._layer: nn.Module | None = None
        zeros = torch.zeros(2, *input_shape, device=device)
        found: Tensor
        with modes(model, training=False), keep_state(), torch.inference_mode():
            if has_own_features(model):
                self.layer = OWN
            else:
                self._layer = _find_layer(model, zeros)
                self.layer = next(name for name, part in model.named_modules() if part is self._layer)
            found = self._extract(zeros)
        if found.ndim != 2 or len(found) != 2:
            raise UsageError(*_refuse(f"{self.layer} has {tuple(found.shape)} for 2 inputs, expected a row for each"))
        self.width = found.shape[1]

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Return features `(N, width)` in float32, on the device of the inputs; the model is in eval mode."""
        return self._extract(inputs).to(torch.float32)

    def _extract(self, inputs: Tensor) -> Tensor:
        if self._layer is None:
            features = self._model.forward_head(self._model.forward_features(inputs), pre_logits=True)
            return _average(features, channels=1 if features.ndim == 4 else -1)
        taken: list[Tensor] = []
        hook = self._layer.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
        try:
            self._model(inputs)
        finally:
            hook.remove()
        return _average(taken[-1], channels=-1 if isinstance(self._layer, nn.Linear) else 1)


def has_own_features(model: nn.Module) -> bool:
    """Tell whether a model has features of its own, in the form of timm's models."""
    methods = [getattr(model, name, None) for name in ("forward_features", "forward_head")]
    if not all(map(callable, methods)):
        return False
    head: Callable[..., Tensor] = methods[1]  # type: ignore[assignment]
    return "pre_logits" in inspect.signature(head).parameters


def _find_layer(model: nn.Module, zeros: Tensor) -> nn.Module:
    """Return the last linear layer that ran and gives as many numbers as there are classes."""
    ran: list[nn.Module] = []
    with hooked(model.modules(), lambda module, *_: ran.append(module)):
        classes = model(zeros).shape[1]
    linear = [part for part in ran if _count_outputs(part) == classes]
    if linear:
        return linear[-1]
    last = choose_head(ran)
    name = next((name for name, part in model.named_modules() if part is last), "")
    told = f"the last one with parameters is {name or 'the model itself'}, a {type(last).__name__}" if last else ""
    raise UsageError(*_refuse(f"no nn.Linear and no convolution of 1x1 gives its {classes} logits; {told}"))


def _count_outputs(layer: nn.Module) -> int | None:
    """Return how many numbers a linear layer gives at each place; None for other layers."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and prod(layer.kernel_size) == 1 and layer.groups == 1:
        return layer.out_channels
    return None


def _average(features: Tensor, *, channels: int) -> Tensor:
    """Return features without the axes between the batch and the channels, or after them: their mean."""
    axes = {*range(1, features.ndim)} - {channels % features.ndim}
    return features.mean(dim=tuple(axes)) if axes else features


def _refuse(why: str) -> tuple[str, str, str]:
    fix = "Give the model forward_features(inputs) and forward_head(features, pre_logits=False), as timm's have them"
    return "the model has no features that are clear", why, fix
