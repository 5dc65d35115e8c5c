"""Floating-point operations: the numbers of torch's own counter, from layers and from plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from zoo.models import flop
from zoo.models.flop import count_flop

CPU = torch.device("cpu")


class Function(nn.Module):
    """What a function makes of tokens `(N, 5, 16)`."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def attend(inputs: Tensor) -> Tensor:
    heads = inputs.view(-1, 5, 4, 4).transpose(1, 2)
    return functional.scaled_dot_product_attention(heads, heads, heads)


TOKENS = (5, 16)
MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(16, 7), (16,)),
    "linear of tokens": (nn.Linear(16, 7, bias=False), TOKENS),
    "convolution": (nn.Conv2d(3, 8, 5, stride=2, padding=1), (3, 14, 14)),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8), (8, 9, 9)),
    "one axis": (nn.Conv1d(4, 6, 3, dilation=2), (4, 20)),
    "three axes": (nn.Conv3d(2, 3, 2), (2, 5, 5, 5)),
    "transposed": (nn.ConvTranspose2d(3, 8, 3, stride=2, groups=1), (3, 7, 6)),
    "padded": (nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"), (3, 9, 9)),
    "attention": (nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), TOKENS),
    "attention as a function": (Function(attend), TOKENS),
    "products": (Function(lambda inputs: inputs @ inputs.transpose(1, 2) @ inputs), TOKENS),
    "added products": (Function(lambda i: torch.baddbmm(i, i.new_ones(2, 5, 4), i.new_ones(2, 4, 16))), TOKENS),
    "einsum": (Function(lambda inputs: torch.einsum("bij,bkj->bik", inputs, inputs)), TOKENS),
    "vector": (Function(lambda inputs: inputs @ torch.ones(16)), TOKENS),
    "gru": (nn.GRU(16, 8, 2, batch_first=True, bidirectional=True), TOKENS),
    "no product": (nn.Sequential(nn.BatchNorm1d(5), nn.ReLU(), nn.AdaptiveAvgPool1d(2)), TOKENS),
}

UNCOUNTED = ("no product", "attention as a function", "vector")
"""On a CPU attention is one operator, which torch does not count, nor does it count a product with a vector."""


def decode(layer: nn.TransformerDecoderLayer) -> nn.Module:
    return Function(lambda inputs: layer(inputs, inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("counter", ["FlopCounter", "BareFlopCounter"])
def test_the_numbers_are_those_of_torch(name: str, counter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flop, "FlopCounter", getattr(flop, counter))  # the one where torch's compiler is imported
    model, shape = MODELS[name]
    model = decode(model) if isinstance(model, nn.TransformerDecoderLayer) else model
    with torch.no_grad(), FlopCounterMode(display=False) as theirs:
        model.eval()(torch.zeros(2, *shape))
    assert count_flop(model, shape, CPU) == theirs.get_total_flops() // 2
    assert name in UNCOUNTED or theirs.get_total_flops() > 2 * math.prod(shape)


def test_what_torch_attends_with_on_a_gpu_is_known() -> None:
    shapes = [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)]
    by_hand = 2 * 2 * 4 * 5 * 7 * 8 + 2 * 2 * 4 * 5 * 7 * 6
    theirs = FlopCounterMode(display=False).flop_registry
    for kind in ("efficient", "flash", "cudnn"):
        packet = getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_attention")
        assert flop.OPERATORS[packet](shapes, ()) == by_hand == theirs[packet](*shapes)


def test_counting_leaves_the_model_and_the_generator_as_they_were() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10)).train()
    state = torch.get_rng_state()
    assert count_flop(model, (1, 28, 28), CPU) == 2 * (784 * 10 + 10 * 10)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
