"""Probe: what one forward pass tells of a model: whether it fits, its layers, its floating-point operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import DryRunError, OutOfMemoryError, describe, is_out_of_memory
from zoo.registry.compatibility import show_shape
from zoo.registry.global_state import keep_state


@keep_state()
def list_layers(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the layers in the order they run, with output shapes (no batch axis) and parameter counts.

    A layer is a module without modules of its own. Parameters that belong to no layer count in the total only.
    """
    layers: list[dict[str, Any]] = []
    names = {module: name for name, module in model.named_modules() if not any(module.children())}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        shape = list(output.shape[1:]) if isinstance(output, torch.Tensor) else None
        count = sum(parameter.numel() for parameter in module.parameters())
        kind = type(module).__name__
        layers.append({"name": names[module], "type": kind, "output_shape": shape, "parameters": count})

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


@keep_state()
def count_flop(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    """Return the floating-point operations of a forward pass for one sample."""
    counter = FlopCounterMode(display=False)
    training = model.training
    model.eval()
    with torch.no_grad(), counter:
        model(torch.zeros(2, *input_shape, device=device))
    model.train(training)
    return int(counter.get_total_flops()) // 2


@keep_state()
def check_model(
    model: nn.Module, *, name: str, dataset: str, input_shape: tuple[int, ...], num_classes: int, device: torch.device
) -> None:
    """Run the model on a batch of two zeros and check its logits; no state of the model or of torch changes.

    Raises:
        DryRunError: the model raises, or gives something else than finite float logits `(2, num_classes)`.
    """
    needed = f"float logits of 2x{num_classes} for inputs of 2x{show_shape(input_shape)}"
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = model(torch.zeros(2, *input_shape, device=device))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"not enough memory for two samples of model {name!r}", describe(error)) from error
        raise DryRunError(name, dataset, needed, describe(error)) from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(logits, torch.Tensor):
        raise DryRunError(name, dataset, needed, f"a {type(logits).__name__}")
    if tuple(logits.shape) != (2, num_classes):
        raise DryRunError(name, dataset, needed, show_shape(tuple(logits.shape)) or "a single number")
    if not logits.dtype.is_floating_point:
        raise DryRunError(name, dataset, needed, f"dtype {logits.dtype}")
    if not bool(torch.isfinite(logits).all()):
        raise DryRunError(name, dataset, needed, "values that are not finite")
