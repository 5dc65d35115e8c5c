from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.relu_mlp import ReluMLP
from zoo_plugins.models.small_resnet import SmallResNet
from zoo_plugins.models.tinyvgg import TinyVGG

MODELS = [Baseline, ReluMLP, TinyVGG]


# The three models as they are in the course, with the sizes of FashionMNIST fixed.
class CourseBaseline(nn.Module):
    def __init__(self, input_shape=784, hidden_units=10, output_shape=10):
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=input_shape, out_features=hidden_units),
            nn.Linear(in_features=hidden_units, out_features=output_shape),
        )

    def forward(self, x):
        return self.layer_stack(x)


class CourseReluMLP(nn.Module):
    def __init__(self, input_shape=784, hidden_units=10, output_shape=10):
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=input_shape, out_features=hidden_units),
            nn.ReLU(),
            nn.Linear(in_features=hidden_units, out_features=output_shape),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.layer_stack(x)


class CourseTinyVGG(nn.Module):
    def __init__(self, input_shape=1, hidden_units=10, output_shape=10):
        super().__init__()
        self.block_1 = nn.Sequential(
            nn.Conv2d(input_shape, hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        self.block_2 = nn.Sequential(
            nn.Conv2d(hidden_units, hidden_units, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_units, hidden_units, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features=hidden_units * 7 * 7, out_features=output_shape)
        )

    def forward(self, x):
        return self.classifier(self.block_2(self.block_1(x)))


COURSE = [
    (Baseline, CourseBaseline, nn.Identity()),
    (ReluMLP, CourseReluMLP, nn.ReLU()),
    (TinyVGG, CourseTinyVGG, nn.Identity()),
]


@pytest.mark.parametrize(("ours", "course", "last"), COURSE)
@pytest.mark.parametrize("hidden_units", [10, 3])
def test_state_dicts_of_the_course_load_both_ways(ours, course, last, hidden_units):
    inputs = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    model = ours(input_shape=(1, 28, 28), num_classes=10, hidden_units=hidden_units).eval()
    theirs = course(hidden_units=hidden_units).eval()
    model.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(last(model(inputs)), theirs(inputs))
    fresh = ours(input_shape=(1, 28, 28), num_classes=10, hidden_units=hidden_units)
    theirs.load_state_dict(fresh.state_dict(), strict=True)
    assert torch.equal(last(fresh(inputs)), theirs(inputs))


@pytest.mark.parametrize(("ours", "course", "last"), COURSE)
def test_same_seed_same_parameters_as_in_the_course(ours, course, last):
    torch.manual_seed(42)
    model = ours(input_shape=(1, 28, 28), num_classes=10)
    torch.manual_seed(42)
    theirs = course().state_dict()
    assert list(model.state_dict()) == list(theirs)
    assert all(torch.equal(model.state_dict()[name], theirs[name]) for name in theirs)


def test_relu_mlp_can_give_negative_logits():
    torch.manual_seed(0)
    assert ReluMLP(input_shape=(1, 28, 28), num_classes=10)(torch.rand(8, 1, 28, 28)).min() < 0


def test_baseline_is_linear_and_relu_mlp_is_not():
    torch.manual_seed(0)
    inputs = torch.randn(2, 4)
    for factory, linear in ((Baseline, True), (ReluMLP, False)):
        model = factory(input_shape=(4,), num_classes=3, hidden_units=8)
        middle = model(inputs.mean(dim=0, keepdim=True))
        assert torch.allclose(middle, model(inputs).mean(dim=0, keepdim=True), atol=1e-6) is linear


@pytest.mark.parametrize("factory", MODELS)
@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 30, 30), (2, 5, 18), (1, 4, 4)])
def test_takes_other_inputs_and_classes(factory, input_shape):
    model = factory(input_shape=input_shape, num_classes=4, hidden_units=6)
    logits = model(torch.zeros(2, *input_shape))
    assert logits.shape == (2, 4)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("factory", [Baseline, ReluMLP])
def test_mlps_take_inputs_of_any_rank(factory):
    assert factory(input_shape=(6,), num_classes=2)(torch.zeros(3, 6)).shape == (3, 2)


@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (1, 1, 28, 28), (1, 3, 28), (1, 28, 3), (0, 28, 28)])
def test_tinyvgg_refuses_what_is_no_image(input_shape):
    with pytest.raises(ValueError, match=r"input_shape: expected \(channels, height, width\) .* at least 4, got"):
        TinyVGG(input_shape=input_shape, num_classes=10)


@pytest.mark.parametrize("factory", MODELS)
@pytest.mark.parametrize("hidden_units", [0, -1])
def test_refuses_no_hidden_units(factory, hidden_units):
    with pytest.raises(ValueError, match=f"hidden_units: expected at least 1, got {hidden_units}"):
        factory(input_shape=(1, 28, 28), num_classes=10, hidden_units=hidden_units)


@pytest.mark.parametrize("factory", MODELS)
def test_everything_is_passed_by_name(factory):
    with pytest.raises(TypeError):
        factory((1, 28, 28), 10)


@pytest.mark.parametrize("input_shape", [(1, 28, 28), (3, 32, 32), (2, 8, 19), (1, 8, 8)])
@pytest.mark.parametrize("width", [12, 1])
def test_small_resnet_takes_images_of_its_shape_and_of_others(input_shape, width):
    model = SmallResNet(input_shape=input_shape, num_classes=4, width=width)
    logits = model(torch.rand(3, *input_shape))
    assert logits.shape == (3, 4)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval()(torch.rand(2, input_shape[0], 40, 33)).shape == (2, 4)


def test_small_resnet_has_ten_convolutions_and_grows_with_the_square_of_its_width():
    counts = {}
    for width in (8, 12, 16):
        model = SmallResNet(input_shape=(1, 28, 28), num_classes=10, width=width)
        shapes = [module.weight.shape for module in model.modules() if isinstance(module, nn.Conv2d)]
        assert [outputs // width for outputs, *_ in shapes] == [1, 2, 2, 2, 4, 4, 4, 8, 8, 8]
        # Kernels of 3 x 3, two numbers for each normalised channel, a linear layer.
        kernels = 9 * (width + 2 * width**2 * (1 + 4 + 16) + 8 * width**2 * (1 + 4 + 16))
        counts[width] = sum(parameter.numel() for parameter in model.parameters())
        assert counts[width] == kernels + 2 * width * (1 + 3 * (2 + 4 + 8)) + 10 * (8 * width + 1)
    assert counts[12] < 750_000


def test_small_resnet_adds_what_a_block_finds():
    torch.manual_seed(0)
    model = SmallResNet(input_shape=(1, 28, 28), num_classes=10).eval()
    stage = model.stages[1]
    inputs = torch.rand(2, 24, 14, 14)
    halved = stage.halve(inputs)
    assert halved.shape == (2, 48, 7, 7)
    assert torch.equal(stage(inputs), halved + stage.residual(halved))
    for parameter in stage.residual.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(stage(inputs), halved)


@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (1, 1, 28, 28), (1, 7, 28), (1, 28, 7), (0, 28, 28)])
def test_small_resnet_refuses_what_is_no_image(input_shape):
    with pytest.raises(ValueError, match=r"input_shape: expected \(channels, height, width\) .* at least 8, got"):
        SmallResNet(input_shape=input_shape, num_classes=10)


def test_small_resnet_refuses_no_width():
    with pytest.raises(ValueError, match="width: expected at least 1, got 0"):
        SmallResNet(input_shape=(1, 28, 28), num_classes=10, width=0)
    with pytest.raises(TypeError):
        SmallResNet((1, 28, 28), 10)
