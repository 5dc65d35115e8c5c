"""The smallest model that is not linear: two linear layers with a ReLU between them."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn


class ReluMLP(nn.Module):
    """Map `(N, *input_shape)` to `(N, num_classes)` logits with linear, ReLU, linear.

    The second model of chapter 03 of Daniel Bourke's PyTorch course, whose state dicts load here, without its last
    ReLU. That ReLU clips the logits: a class whose logit is negative for all inputs gets no gradient, so it is never
    predicted and never learned.

    Raises:
        ValueError: `hidden_units` is less than 1.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, hidden_units: int = 10) -> None:
        super().__init__()
        if hidden_units < 1:
            raise ValueError(f"hidden_units: expected at least 1, got {hidden_units}")
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layer_stack(inputs)
        return logits
