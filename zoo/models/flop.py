"""Floating-point operations: those of a forward pass, counted from the shapes that its operators get.

The numbers are those of torch's own counter, which is not used because importing it imports Triton.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import unwrap
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.registry.global_state import keep_state

Shape = Sequence[int]


@keep_state()
def count_flop(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    """Return the floating-point operations of a forward pass for one sample: of products and convolutions alone."""
    counter = FlopCounter() if "torch._dynamo" in sys.modules else BareFlopCounter()
    training = model.training
    model.eval()
    with torch.no_grad(), counter:
        model(torch.zeros(2, *input_shape, device=device))
    model.train(training)
    return counter.flop // 2


def multiply(left: Shape, right: Shape) -> int:
    """Return the operations of a product of matrices, or of as many as the leading axes say."""
    return 2 * prod(left) * right[-1]


def convolve(inputs: Shape, weight: Shape, outputs: Shape, *, transposed: bool) -> int:
    """Return the operations of a convolution: of a kernel at each place of the outputs, transposed of the inputs."""
    return 2 * inputs[0] * prod(weight) * prod((inputs if transposed else outputs)[2:])


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


class FlopCounter(TorchDispatchMode):
    """Counts the operations of what runs in its context as `flop`."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = 0

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
            self.flop += count([each.shape if isinstance(each, Tensor) else each for each in args], first.shape)
        return outputs


class BareFlopCounter(FlopCounter):
    """The same for a process without torch's compiler, which torch imports to tell it to pass over this method."""


BareFlopCounter.__torch_dispatch__ = unwrap(FlopCounter.__torch_dispatch__)  # type: ignore[method-assign]
