"""TinyVGG: the smallest convolutional network worth the name."""

from __future__ import annotations

from torch import Tensor, nn

# Two poolings halve each side twice: below this, nothing is left for the classifier.
MIN_SIDE = 4


class TinyVGG(nn.Module):
    """Map images `(N, channels, height, width)` to `(N, num_classes)` logits with two blocks of two convolutions.

    The third model of chapter 03 of Daniel Bourke's PyTorch course, whose state dicts load here; the course fixes
    28 x 28 inputs, here the classifier follows `input_shape`.

    Raises:
        ValueError: `input_shape` is not (channels, height, width) with sides of at least 4, or `hidden_units` is
            less than 1.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, hidden_units: int = 10) -> None:
        super().__init__()
        if len(input_shape) != 3 or input_shape[0] < 1 or min(input_shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"input_shape: expected (channels, height, width) with sides of at least {MIN_SIDE}, "
                f"got {tuple(input_shape)}"
            )
        if hidden_units < 1:
            raise ValueError(f"hidden_units: expected at least 1, got {hidden_units}")
        channels, height, width = input_shape
        self.block_1 = nn.Sequential(
            nn.Conv2d(channels, hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        self.block_2 = nn.Sequential(
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(hidden_units * (height // 4) * (width // 4), num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(self.block_2(self.block_1(inputs)))
        return logits
