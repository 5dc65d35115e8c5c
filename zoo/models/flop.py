"""Floating-point operations: those of a forward pass, counted from the shapes that its operators get.

The numbers are those of torch's own counter, which is not used because importing it imports Triton.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import unwrap
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.registry.global_state import keep_state

Shape = Sequence[int]

HEAVY = 16


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a forward pass computes for one sample.

    Fields:
        flop: Its floating-point operations, those of products and convolutions alone.
        convolved: How many of them are of two-dimensional convolutions.
        heavy: How many of those are of such whose kernels have many more values than the images that they work on.
    """

    flop: int = 0
    convolved: int = 0
    heavy: int = 0

    @property
    def is_convolutional(self) -> bool:
        """Whether most of it are convolutions of images; the patch embedding of a transformer is not."""
        return 2 * self.convolved > self.flop


def count_flop(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    """Return the floating-point operations of a forward pass for one sample: of products and convolutions alone."""
    return count_work(model, input_shape, device).flop


@keep_state()
def count_work(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> Work:
    """Return what a forward pass in eval mode computes for one sample; nothing of the model changes."""
    counter = FlopCounter() if "torch._dynamo" in sys.modules else BareFlopCounter()
    training = model.training
    model.eval()
    # In eval mode torch's own layers of transformers else run as one operator, of which no shapes are known.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), counter:
            model(torch.zeros(2, *input_shape, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    model.train(training)
    return Work(flop=counter.flop // 2, convolved=counter.convolved // 2, heavy=counter.heavy // 2)


def multiply(left: Shape, right: Shape) -> int:
    """Return the operations of a product of matrices, or of as many as the leading axes say."""
    return 2 * prod(left) * right[-1]


def convolve(inputs: Shape, weight: Shape, outputs: Shape, *, transposed: bool) -> int:
    """Return the operations of a convolution: of a kernel at each place of the outputs, transposed of the inputs."""
    return 2 * inputs[0] * prod(weight) * prod((inputs if transposed else outputs)[2:])


def is_heavy(inputs: Shape, weight: Shape, outputs: Shape) -> bool:
    """Tell whether the kernels of a convolution have HEAVY times as many values as an image before and after it."""
    return prod(weight[2:]) > 1 and prod(weight) > HEAVY * (prod(inputs[1:]) + prod(outputs[1:]))


def attend(query: Shape, key: Shape, value: Shape) -> int:
    """Return the operations of attention between `(N, heads, tokens, width)`, as if nothing were masked."""
    return 2 * prod(query[:3]) * key[-2] * (query[-1] + value[-1])


aten = torch.ops.aten
OPERATORS: Mapping[Any, Callable[[Sequence[Any], Shape], int]] = {
    aten.mm: lambda given, _: multiply(given[0], given[1]),
    aten.bmm: lambda given, _: multiply(given[0], given[1]),
    aten.addmm: lambda given, _: multiply(given[1], given[2]),
    aten.baddbmm: lambda given, _: multiply(given[1], given[2]),
    aten.convolution: lambda given, outputs: convolve(given[0], given[1], outputs, transposed=given[6]),
    aten._convolution: lambda given, outputs: convolve(given[0], given[1], outputs, transposed=given[6]),
    aten._scaled_dot_product_efficient_attention: lambda given, _: attend(given[0], given[1], given[2]),
    aten._scaled_dot_product_flash_attention: lambda given, _: attend(given[0], given[1], given[2]),
    aten._scaled_dot_product_cudnn_attention: lambda given, _: attend(given[0], given[1], given[2]),
}
"""What an operator costs, of the shapes of what it is given and of what it gives; what is no tensor is as it is."""
CONVOLUTIONS = (aten.convolution, aten._convolution)


class FlopCounter(TorchDispatchMode):
    """Counts the operations of what runs in its context as `flop`, those of 2-d convolutions also as `convolved`."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = self.convolved = self.heavy = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count it, or the operators that it is made of."""
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        outputs = func(*args, **kwargs)
        if (count := OPERATORS.get(func.overloadpacket)) is not None:
            first = outputs[0] if isinstance(outputs, tuple) else outputs
            given = [each.shape if isinstance(each, Tensor) else each for each in args]
            flop = count(given, first.shape)
            self.flop += flop
            if func.overloadpacket in CONVOLUTIONS and first.ndim == 4:
                self.convolved += flop
                self.heavy += flop if is_heavy(given[0], given[1], first.shape) else 0
        return outputs


class BareFlopCounter(FlopCounter):
    """The same for a process without torch's compiler, which torch imports to tell it to pass over this method."""


BareFlopCounter.__torch_dispatch__ = unwrap(FlopCounter.__torch_dispatch__)  # type: ignore[method-assign]
