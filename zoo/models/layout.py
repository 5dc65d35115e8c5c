"""Layout: how the values of images and kernels lie in memory, by a rule that looks at a model's layers and sizes alone.

Torch's convolutions on a CPU take channels that lie last without rearranging them; with any other layout each one
rearranges its inputs and its gradients. What a model computes is the same but for the last bits.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from math import isfinite
from typing import Literal

import torch
from torch import nn

from zoo.data.batch import lay_last
from zoo.errors import describe
from zoo.models.device import use_seed
from zoo.models.flop import Work
from zoo.registry.global_state import keep_state

log = logging.getLogger("zoo")

MemoryFormat = Literal["auto", "contiguous", "channels_last"]
AUTO: MemoryFormat = "auto"
CONTIGUOUS: MemoryFormat = "contiguous"
CHANNELS_LAST: MemoryFormat = "channels_last"

HEAVY_SHARE = 1 / 3
"""Share of the operations in convolutions with heavy kernels, see `Work`, up to which the channels are to be last.
Torch rearranges kernels at each call, which takes longer where their channels lie last: more than is saved by not
rearranging small images. ResNet-18 has more of them for images of 64 pixels, and fewer for 224. See
benchmarks/layout.py."""
SLOW = (nn.InstanceNorm2d,)
"""Layers that rearrange what has its channels last, and back."""

TOLERANCE = 1e-3
"""How far outputs may be from those with the other layout, as a share of the largest: float32 rounds to a thousandth of
that."""


def choose_format(
    wish: MemoryFormat,
    model: nn.Module,
    input_shape: tuple[int, ...],
    work: Work,
    device: torch.device,
    *,
    trains: bool,
) -> MemoryFormat:
    """Return the layout that is wished for; for `auto` `channels_last` for convolutional models that can have it.

    It follows from the model, the shape of its inputs and the kind of device, never from a measurement: another layout
    rounds otherwise, and a run that is repeated must have the same. On other devices than a CPU a layout must be asked
    for. A model that is to be trained is tried in training mode too; nothing of it changes.
    """
    if wish != AUTO:
        return wish
    if device.type != "cpu" or len(input_shape) != 3 or not work.is_convolutional:
        return CONTIGUOUS
    if work.heavy > work.flop * HEAVY_SHARE or any(isinstance(part, SLOW) for part in model.modules()):
        return CONTIGUOUS
    if _shares_memory(model):
        return CONTIGUOUS
    try:
        problem = _try_channels_last(model, input_shape, trains=trains)
    except Exception as error:  # noqa: BLE001 a model can fail in any way where it counts on how its values lie
        problem = describe(error)
    if problem:
        log.info("the channels stay first: with the channels last the model does not compute the same: %s", problem)
    return CONTIGUOUS if problem else CHANNELS_LAST


def lay_model(model: nn.Module, memory_format: str) -> None:
    """Let the kernels of a model lie so, in place: its parameters and buffers `(N, C, H, W)`."""
    if memory_format == CHANNELS_LAST:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4:
                tensor.data = lay_last(tensor.data)


def _shares_memory(model: nn.Module) -> bool:
    """Tell whether one tensor of a model is a part of another: one that is laid anew has memory of its own."""
    places = [tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    return len(set(places)) < len(places)


@keep_state()
def _try_channels_last(model: nn.Module, input_shape: tuple[int, ...], *, trains: bool) -> str:
    """Run a copy of a model with the channels last; return in words what of its outputs differs, "" for nothing.

    What the model raises goes through.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, *input_shape, generator=generator)
    with use_seed(0):
        with torch.no_grad():
            wanted = deepcopy(model).eval()(inputs)
        tried, inputs = deepcopy(model).eval(), lay_last(inputs)
        lay_model(tried, CHANNELS_LAST)
        with torch.no_grad():
            found = tried(inputs)
        if trains:
            outputs = tried.train()(inputs)
            parts = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = sum(part.square().mean() for part in parts)
            if loss.requires_grad:
                loss.backward()
    difference, largest = float((found - wanted).abs().max()), float(wanted.abs().max())
    same = difference <= TOLERANCE * max(1.0, largest) or not isfinite(largest)
    return "" if same else f"outputs differ by {difference:.2g}"
