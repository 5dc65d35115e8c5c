"""SmallResNet: a residual network for small images that trains in minutes on one CPU core."""

from __future__ import annotations

from torch import Tensor, nn

# Three halvings, rounded up: from 8 on, the last stage still has more than one position.
MIN_SIDE = 8


class SmallResNet(nn.Module):
    """Map images `(N, channels, height, width)` to `(N, num_classes)` logits with ten convolutions in three stages.

    The stem has `width` channels at full size. Each stage halves the sides and doubles the channels, then adds a
    residual block. The classifier sees the mean over all positions, so images of another size than `input_shape` pass.

    Raises:
        ValueError: `input_shape` is not (channels, height, width) with sides of at least 8, or `width` is less than 1.
    """

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 12) -> None:
        super().__init__()
        if len(input_shape) != 3 or input_shape[0] < 1 or min(input_shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"input_shape: expected (channels, height, width) with sides of at least {MIN_SIDE}, "
                f"got {tuple(input_shape)}"
            )
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        self.stem = _convolve(input_shape[0], width)
        self.stages = nn.Sequential(*(_Stage(width * factor) for factor in (1, 2, 4)))
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(self.stages(self.stem(inputs)))
        return logits


class _Stage(nn.Module):
    """Map `channels` to twice as many on half the sides, then add what two convolutions find."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.halve = _convolve(channels, 2 * channels, stride=2)
        self.residual = nn.Sequential(_convolve(2 * channels, 2 * channels), _convolve(2 * channels, 2 * channels))

    def forward(self, inputs: Tensor) -> Tensor:
        halved: Tensor = self.halve(inputs)
        summed: Tensor = halved + self.residual(halved)
        return summed


def _convolve(channels: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution, normalised over the batch, and a ReLU."""
    convolution = nn.Conv2d(channels, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
