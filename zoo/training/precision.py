"""Precision: the floats that a training computes with. Weights, their updates and all evaluation are in float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ErrorCollector, SettingError, describe
from zoo.registry.settings import TrainConfig

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
TF32_CAPABILITY = (8, 0)
"""The first CUDA devices with TF32, and with bfloat16 that is not emulated: Ampere."""


def check_precision(config: TrainConfig, device: torch.device) -> None:
    """Refuse precisions that a device does not have; raise SettingError, or SeveralErrors."""
    errors = ErrorCollector()
    recent = device.type != "cuda" or torch.cuda.get_device_capability(device) >= TF32_CAPABILITY
    if config.precision == "fp16" and device.type == "cpu":
        errors.errors.append(SettingError("precision", "fp16 is for accelerators", "fp16", "On a CPU use bf16"))
    elif config.precision != "fp32" and (problem := _find_problem(config.precision, device, recent)):
        errors.errors.append(SettingError("precision", f"{device} {problem}", config.precision, "Use fp32"))
    if config.tf32 and device.type != "cuda":
        errors.errors.append(SettingError("tf32", f"is for CUDA devices, not for {device}"))
    elif config.tf32 and not recent:
        errors.errors.append(SettingError("tf32", f"{torch.cuda.get_device_name(device)} has no TF32"))
    errors.raise_any()


def _find_problem(precision: str, device: torch.device, recent: bool) -> str:
    """Return why a device cannot multiply matrices in a precision, "" where it can."""
    if precision == "bf16" and not recent and not torch.version.hip:
        return "only emulates bf16"
    try:
        with warnings.catch_warnings(), torch.autocast(device.type, dtype=DTYPES[precision]):
            warnings.simplefilter("error")
            ones = torch.ones(2, 2, device=device)
            return "" if (ones @ ones).dtype == DTYPES[precision] else f"does not compute in {precision}"
    except (RuntimeError, ValueError, Warning) as error:
        return f"cannot compute in {precision}: {describe(error)}"


def use_precision(precision: str, device: torch.device) -> torch.autocast:
    """Return a context in which torch computes in a precision what it has in it, in fp32 all."""
    return torch.autocast(device.type, dtype=DTYPES.get(precision), enabled=precision in DTYPES)


def lower(model: nn.Module, precision: str, device: torch.device) -> Callable[[Tensor], Any]:
    """Return what runs a model's forward pass in a precision and gives its outputs, the logits, in float32.

    The loss is then computed in float32, whatever it is made of. For fp32 that is the model itself.
    """
    if precision == "fp32":
        return model

    def forward(inputs: Tensor) -> Any:
        with use_precision(precision, device):
            outputs = model(inputs)
        return _raise(outputs)

    return forward


def _raise(outputs: Any) -> Any:
    """Return outputs with all floats in float32, those inside of tuples, lists and dicts too."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return type(outputs)((name, _raise(each)) for name, each in outputs.items())
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*map(_raise, outputs))
    return type(outputs)(map(_raise, outputs)) if isinstance(outputs, list | tuple) else outputs
