"""Layers: what a model is made of, with the shapes one forward pass shows."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def list_layers(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the layers in the order they run, with output shapes (no batch axis) and parameter counts.

    A layer is a module without modules of its own. Parameters that belong to no layer count in the total only.
    """
    layers: list[dict[str, Any]] = []
    names = {module: name for name, module in model.named_modules() if not any(module.children())}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        shape = list(output.shape[1:]) if isinstance(output, torch.Tensor) else None
        count = sum(parameter.numel() for parameter in module.parameters())
        layers.append(
            {"name": names[module], "type": type(module).__name__, "output_shape": shape, "parameters": count}
        )

    hooks = [module.register_forward_hook(note) for module in names]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(2, *input_shape))
    for hook in hooks:
        hook.remove()
    parameters = list(model.parameters())
    return {
        "input_shape": list(input_shape),
        "layers": layers,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }
