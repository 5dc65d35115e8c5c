"""Registered models as plain modules: built as a run builds them, and as the course writes them by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zoo

FASHION = {"input_shape": (1, 28, 28), "num_classes": 10}


class ByHand(nn.Module):
    """The first model of the course."""

    def __init__(self):
        super().__init__()
        self.layer_stack = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10))

    def forward(self, inputs):
        return self.layer_stack(inputs)


def test_a_model_is_that_of_the_course_to_the_last_digit():
    torch.manual_seed(42)
    theirs = ByHand()
    after = torch.rand(3)
    torch.manual_seed(42)
    model = zoo.create_model("baseline", **FASHION)
    assert torch.equal(torch.rand(3), after)  # what is drawn later, a dummy input say, is the same as well
    assert repr(model).replace("Baseline", "ByHand") == repr(theirs)
    assert list(model.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in theirs.state_dict().items())
    inputs = torch.rand(1, 1, 28, 28)
    assert model.training and torch.equal(model(inputs), theirs(inputs))


def test_a_seed_leaves_the_random_state_of_the_caller():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, other = (zoo.create_model("tinyvgg", **FASHION, seed=seed) for seed in (42, 43))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(42)
    plain = zoo.create_model("tinyvgg", **FASHION)
    weight = "block_1.0.weight"
    assert torch.equal(plain.state_dict()[weight], one.state_dict()[weight])
    assert not torch.equal(plain.state_dict()[weight], other.state_dict()[weight])


def test_a_model_is_the_one_that_a_run_starts_from(tmp_path):
    sizes = {"train_size": 50, "test_size": 10}
    result = zoo.run("relu-mlp", "shapes", dataset_params=sizes, epochs=0, seed=5, runs_dir=tmp_path)
    started = zoo.load_model(result.weights).state_dict()
    model = zoo.create_model("relu-mlp", **FASHION, seed=5)
    assert all(torch.equal(started[name], value) for name, value in model.state_dict().items())


def test_params_and_models_of_others(tmp_path):
    assert zoo.create_model("baseline", **FASHION, params={"hidden_units": 3}).layer_stack[1].out_features == 3
    assert type(zoo.create_model("torchvision/resnet18", input_shape=(3, 32, 32), num_classes=4)).__name__ == "ResNet"
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import zoo\nfrom torch import nn\n\n\n@zoo.model(name='mine')\ndef mine(*, input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n",
        encoding="utf-8",
    )
    model = zoo.create_model("mine", input_shape=(1, 4, 4), num_classes=3, plugins=[plugin])
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("baselin", FASHION, zoo.UnknownNameError, "Did you mean 'baseline'?"),
        ("baseline", {**FASHION, "params": {"hidden_unit": 3}}, zoo.UsageError, "Did you mean 'hidden_units'?"),
        ("baseline", {**FASHION, "num_classes": 0}, zoo.SettingError, "num_classes: must be at least 1, got 0"),
        ("tinyvgg", {**FASHION, "input_shape": (784,)}, zoo.SettingError, "input_shape: expected *x*x* for model"),
        ("baseline", {**FASHION, "input_shape": (0, 28)}, zoo.SettingError, "input_shape: expected at least one size"),
        ("baseline", {**FASHION, "input_shape": "1x28"}, zoo.SettingError, "input_shape: expected a list of whole"),
        ("baseline", {**FASHION, "seed": -1}, zoo.SettingError, "seed: must be at least 0, got -1"),
        ("tinyvgg", {**FASHION, "input_shape": (1, 2, 2)}, zoo.ZooError, "tinyvgg"),
        (3, FASHION, zoo.SettingError, "model: expected a text, got 3"),
    ],
)
def test_a_mistake_is_named(name, options, error, message):
    with pytest.raises(error) as caught:
        zoo.create_model(name, **options)
    assert message in str(caught.value)


def test_layers_of_any_module_and_nothing_of_it_changes():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Dropout(), nn.BatchNorm1d(3))
    module[1].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    table = zoo.list_layers(module, (2, 2))
    assert [(layer.name, layer.type, layer.output_shape, layer.parameters) for layer in table.layers] == [
        ("0", "Flatten", (4,), 0),
        ("1", "Linear", (3,), 15),
        ("2", "Dropout", (3,), 0),
        ("3", "BatchNorm1d", (3,), 6),
    ]
    assert (table.parameters, table.trainable) == (21, 18)
    assert all(part.training for part in module.modules()) and not module[1]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with pytest.raises(RuntimeError):
        zoo.list_layers(module, (3, 3))
    assert all(part.training and not part._forward_hooks for part in module.modules())


def test_show_gives_what_the_command_prints():
    card = zoo.show("tinyvgg", layers=True, dataset="shapes")
    assert card.layers.parameters == card.to_dict()["layers"]["parameters"] == 7740
    assert repr(card).splitlines()[0] == "tinyvgg: model of plugin zoo 0.1.0"
    assert "  block_1.0     Conv2d     10x28x28  100" in repr(card).splitlines()
    counted = zoo.show("shapes", counts=True, dataset_params={"train_size": 50, "test_size": 20}).counts
    assert counted.splits["train"].per_class == (5,) * 10
    assert "  train: 2 batches of 32, inputs [32, 1, 28, 28], targets [32]" in repr(counted).splitlines()
    weights = zoo.show("baseline@fashionmnist")
    assert weights.is_weights and weights.to_dict()["metadata"]["model"] == "baseline"
    with pytest.raises(zoo.UsageError, match="layers and weights were both given"):
        zoo.show("baseline@fashionmnist", layers=True)
