"""A new model: a small convolutional network."""

NOUN = "model"
OPTIONS = "--model {} --dataset shapes"

DECORATOR = """\
@zoo.model(
    name="$name",
    description="A small convolutional network for images of any size",
    input_shape=("*", "*", "*"),
    params={"width": 16},
)
"""

MANIFEST = """\
schema = 1

[models.$key]
factory = "$package.model:CNN"
description = "A small convolutional network for images of any size"
input_shape = ["*", "*", "*"]
params = { width = 16 }
"""

CODE = '''\
"""A small convolutional network: the model `$name`."""

import torch
${zoo}from torch import nn


${decorator}class CNN(nn.Module):
    """Map images (N, C, H, W) of any size to logits (N, num_classes)."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(input_shape[0], width, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),  # 4 x 4 from any height and width
            nn.Flatten(),
            nn.Linear(2 * width * 4 * 4, num_classes),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits: no softmax, the loss has it."""
        return self.layers(inputs)
'''

OBJECT = "CNN"
PROMISE = "The model keeps the contract, and it learns."
CONSTANTS = ""
TESTS = """\


@pytest.mark.parametrize("input_shape", [(1, 28, 28), (3, 32, 20), (2, 1, 1)])
def test_any_image_becomes_a_logit_per_class(input_shape):
    model = CNN(input_shape=input_shape, num_classes=7)
    assert model(torch.zeros(2, *input_shape)).shape == (2, 7)


def test_width_is_a_param():
    sizes = [sum(p.numel() for p in CNN(input_shape=(1, 8, 8), num_classes=2, width=w).parameters()) for w in (4, 8)]
    assert sizes[0] < sizes[1]


def test_it_learns(tmp_path):
    result = zoo.run(
        model=NAME,
        dataset="shapes",
        dataset_params={"train_size": 2000, "test_size": 500},
        epochs=2,
        runs_dir=tmp_path,
    )
    assert result.metrics["accuracy"] > 0.2  # ten classes: guessing gives 0.1
"""
