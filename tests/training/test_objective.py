"""What a training minimises: losses of plugins, weights of classes, mixed images, auxiliary logits, each by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import zoo
from zoo import augment
from zoo.cli.main import main
from zoo.data.order import draw_balanced, epoch_order

SMALL = {"train_size": 305, "test_size": 100}
EPOCHS, SIZE = 2, 32
FOCAL = """
import torch
import zoo
from torch.nn import functional


@zoo.loss(name="focal", params={"gamma": 2.0})
class Focal:
    def __init__(self, *, num_classes, gamma: float = 2.0):
        self.gamma = gamma

    def __call__(self, logits, targets):
        losses = functional.cross_entropy(logits, targets, reduction="none")
        return ((1 - torch.exp(-losses)) ** self.gamma * losses).mean()
"""
AUXILIARY = """
import zoo
from torch import nn


class Net(nn.Module):
    def __init__(self, *, input_shape, num_classes, heads: int = 2):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(16, num_classes) for _ in range(heads))

    def forward(self, inputs):
        features = self.body(inputs)
        return tuple(head(features) for head in self.heads) if self.training else self.heads[0](features)


@zoo.model(name="declared", input_shape=(1, 28, 28), aux_weights=[0.3])
class Declared(Net):
    pass


@zoo.model(name="undeclared", input_shape=(1, 28, 28))
class Undeclared(Net):
    pass
"""
WRONG = """
import torch
import zoo
from torch.nn import functional


@zoo.loss(name="raises")
def raises(*, num_classes):
    def loss(logits, targets):
        raise KeyError("weights")
    return loss


@zoo.loss(name="each")
def each(*, num_classes):
    return torch.nn.CrossEntropyLoss(reduction="none")


@zoo.loss(name="number")
def number(*, num_classes):
    return lambda logits, targets: functional.cross_entropy(logits, targets).item()


@zoo.loss(name="detached")
def detached(*, num_classes):
    return lambda logits, targets: functional.cross_entropy(logits.detach(), targets)


@zoo.loss(name="late")
def late(*, num_classes):
    calls = []
    def loss(logits, targets):
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("too late")
        return functional.cross_entropy(logits, targets)
    return loss
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(tmp_path: Path, **settings: Any) -> Any:
    where = {"dataset_params": SMALL, "epochs": EPOCHS, "threads": 1, "runs_dir": tmp_path / "runs"}
    return zoo.run(**{"model": "baseline", "dataset": "shapes", **where, **settings})


def train_by_hand(
    compute: Callable[[nn.Module, Tensor, Tensor, Tensor, int], Tensor], *, balanced: bool = False
) -> dict[str, Tensor]:
    """Train the baseline as the course does; `compute` gives the loss of a batch from its raw images."""
    images, targets = zoo.load_dataset("shapes", params=SMALL).train
    torch.manual_seed(42)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(EPOCHS):
        order = draw_balanced(targets, 42, epoch) if balanced else epoch_order(len(targets), 42, epoch)
        for indices in order.split(SIZE):
            optimizer.zero_grad()
            compute(model, images[indices], targets[indices], indices, epoch).backward()
            optimizer.step()
    return dict(model.state_dict())


def require_same_bits(result: Any, expected: dict[str, Tensor]) -> None:
    found = list(load_file(result.weights).values())
    assert len(found) == len(expected) == 4
    for value in expected.values():
        assert any(value.shape == other.shape and torch.equal(value, other) for other in found)


def test_plain_cross_entropy_is_the_course_loop(tmp_path: Path) -> None:
    def compute(model: nn.Module, images: Tensor, targets: Tensor, *_: Any) -> Tensor:
        return functional.cross_entropy(model(images / 255), targets)

    require_same_bits(run(tmp_path), train_by_hand(compute))


def test_weights_of_classes_and_smoothing_are_those_of_torch(tmp_path: Path) -> None:
    given = tuple(0.5 + 0.25 * number for number in range(10))
    criterion = nn.CrossEntropyLoss(weight=torch.tensor(given), label_smoothing=0.1)

    def compute(model: nn.Module, images: Tensor, targets: Tensor, *_: Any) -> Tensor:
        value: Tensor = criterion(model(images / 255), targets)
        return value

    result = run(tmp_path, class_weights=given, label_smoothing=0.1)
    require_same_bits(result, train_by_hand(compute))
    assert result.train_config["class_weights"] == given and list(result.history[0]["train"]) == ["loss"]


def test_balanced_weights_come_from_what_is_left_after_the_validation_split(tmp_path: Path) -> None:
    from zoo.training.plan import Wanted, make_plan
    from zoo.training.setup import find_class_weights

    registry = zoo.Registry.discover()
    names: dict[str, Any] = {"model": "baseline", "dataset": "shapes", "metrics": (), "params": None}
    more: dict[str, Any] = {"dataset_params": SMALL, "metric_params": None, "settings": {"class_weights": "balanced"}}
    plan = make_plan(Wanted(**names, **more), registry)
    images, targets = torch.zeros(9, 1, 4, 4), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    splits = zoo.DataSplits(train=(images, targets), test=(images, targets), class_names=("a", "b", "c"))
    weights = find_class_weights(plan.config, splits, "d")
    assert weights is not None and torch.allclose(weights, torch.tensor([9 / 15, 9 / 9, 9 / 3]))
    assert float(weights[targets].mean()) == pytest.approx(1)
    empty = zoo.DataSplits(train=(images, targets), test=(images, targets), class_names=("a", "b", "c", "d"))
    with pytest.raises(zoo.ZooError, match="class 'd' has no training samples: balanced weights divide"):
        find_class_weights(plan.config, empty, "d")


def test_accumulated_batches_count_by_their_weights(tmp_path: Path) -> None:
    given = tuple(1.0 + number for number in range(10))
    whole = run(tmp_path, class_weights=given, batch_size=64, epochs=1)
    parts = run(tmp_path, class_weights=given, batch_size=16, accumulate=4, epochs=1)
    one, other = load_file(whole.weights), load_file(parts.weights)
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_balanced_sampling_draws_each_class_equally_often(tmp_path: Path) -> None:
    classes = torch.tensor([0] * 90 + [1] * 9 + [3] * 4)
    order = draw_balanced(classes, 42, 0)
    drawn = torch.bincount(classes[order], minlength=4).tolist()
    assert drawn[2] == 0 and sorted(drawn)[1:] == [34, 34, 35] and len(order) == 103
    assert torch.equal(order, draw_balanced(classes, 42, 0))
    assert not torch.equal(order, draw_balanced(classes, 42, 1)) and not torch.equal(
        order, draw_balanced(classes, 1, 0)
    )
    seen = torch.cat([draw_balanced(classes, 42, epoch) for epoch in range(60)])
    assert set(seen.tolist()) == set(range(103))  # every sample has its turn

    def compute(model: nn.Module, images: Tensor, targets: Tensor, *_: Any) -> Tensor:
        return functional.cross_entropy(model(images / 255), targets)

    require_same_bits(run(tmp_path, balanced_sampling=True), train_by_hand(compute, balanced=True))


@pytest.mark.parametrize(
    ("settings", "mixing"),
    [
        ({"mixup": 0.4}, augment.Mixup(alpha=0.4)),
        ({"cutmix": 1}, augment.CutMix(alpha=1.0)),
        ({"augment": "mixup:alpha=0.4", "label_smoothing": 0.1}, augment.Mixup(alpha=0.4)),
    ],
)
def test_mixed_images_are_those_of_the_loop_by_hand(settings: dict[str, Any], mixing: Any, tmp_path: Path) -> None:
    images, targets = zoo.load_dataset("shapes", params=SMALL).train
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.get("label_smoothing", 0.0))

    def compute(model: nn.Module, own: Tensor, classes: Tensor, indices: Tensor, epoch: int) -> Tensor:
        partners = mixing.choose_partners(indices, len(targets), epoch, 42)
        mixed = mixing((own, classes), (images[partners], targets[partners]), indices, epoch, 42)
        value: Tensor = criterion(model(mixed.images / 255), mixed.to_probabilities(10))
        return value

    require_same_bits(run(tmp_path, **settings), train_by_hand(compute))


def test_erase_is_the_operation_of_augment(tmp_path: Path) -> None:
    one, other, plain = run(tmp_path, erase=0.5), run(tmp_path, augment="erase:p=0.5"), run(tmp_path)
    assert one.metrics == other.metrics != plain.metrics


def test_a_loss_of_a_plugin_is_minimised_and_told_under_its_name(tmp_path: Path) -> None:
    plugin = write(tmp_path, "focal.py", FOCAL)

    def compute(model: nn.Module, images: Tensor, targets: Tensor, *_: Any) -> Tensor:
        losses = functional.cross_entropy(model(images / 255), targets, reduction="none")
        return ((1 - torch.exp(-losses)) ** 1.5 * losses).mean()

    result = run(tmp_path, loss="focal", loss_params={"gamma": "1.5"}, plugins=[plugin])
    require_same_bits(result, train_by_hand(compute))
    assert list(result.metrics) == ["loss", "accuracy", "focal"]
    assert list(result.history[0]["train"]) == ["focal"] and result.train_config["loss"] == "focal/focal"
    # Evaluation reports plain cross-entropy as `loss`, and the objective beside it.
    images, targets = zoo.load_dataset("shapes", params=SMALL).test
    model = zoo.load(result.weights).model.eval()
    with torch.inference_mode():
        losses = functional.cross_entropy(model(images / 255), targets, reduction="none")
    assert result.metrics["loss"] == pytest.approx(float(losses.mean()), abs=1e-5)
    focal = float(((1 - torch.exp(-losses)) ** 1.5 * losses).mean())
    assert result.metrics["focal"] == pytest.approx(focal, abs=1e-5)
    assert "train focal" in result._repr_html_()
    record = json.loads((result.run / "run.json").read_text(encoding="utf-8"))
    assert record["loss_plugin"] == {"name": "focal", "version": "", "source": plugin}


def test_a_run_with_a_loss_can_be_watched_by_it_and_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, runs = write(tmp_path, "focal.py", FOCAL), str(tmp_path / "runs")
    small = ["--dataset-param", "train_size=305", "--dataset-param", "test_size=100", "--runs-dir", runs]
    asked = ["--loss", "focal", "--loss-param", "gamma=3", "--validation", "0.2", "--monitor", "focal"]
    assert main(["run", "--plugin", plugin, *small, *asked]) == 0
    out, err = capsys.readouterr()
    assert "epoch 1  train focal " in err and "by validation focal " in out
    assert main(["show", "@last", "--runs-dir", runs]) == 0
    repeat = next(line for line in capsys.readouterr().out.splitlines() if "repeat with" in line)
    assert f"--plugin {plugin} " in repeat and "--loss focal/focal --loss-param gamma=3.0 " in repeat
    words = repeat.partition("zoo run ")[2].split()
    assert main(["run", *words, "--runs-dir", runs]) == 0
    first, second = (load_file(path) for path in sorted((tmp_path / "runs").glob("*/weights.safetensors")))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert main(["show", "@best", "--runs-dir", runs, "--plugin", plugin]) == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", "loss 'raises' failed: KeyError: 'weights'"),
        ("each", "loss 'each': expected the mean of the batch, a float tensor without axes, got torch.float32 (11,)"),
        ("number", "got a float"),
        ("detached", "loss 'detached': what it gives has no gradient"),
    ],
)
def test_a_wrong_loss_is_told_as_the_plugins_before_the_training(name: str, told: str, tmp_path: Path) -> None:
    plugin = write(tmp_path, "wrong.py", WRONG)
    with pytest.raises(zoo.PluginError) as caught:
        run(tmp_path, loss=name, plugins=[plugin])
    assert told in str(caught.value) and "plugin 'wrong'" in str(caught.value)
    assert not list((tmp_path / "runs").iterdir())


def test_a_loss_that_fails_late_is_told_as_the_plugins_too(tmp_path: Path) -> None:
    with pytest.raises(zoo.PluginError, match="plugin 'wrong': loss 'late' failed: RuntimeError: too late"):
        run(tmp_path, loss="late", plugins=[write(tmp_path, "wrong.py", WRONG)])


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("--loss focall", ["no loss named 'focall'"]),
        ("--loss-param gamma=2", ["loss_params: cross-entropy has no params, got {'gamma': '2'}"]),
        ("--loss focal --label-smoothing 0.1", ["label_smoothing: is a setting of cross-entropy, not of focal"]),
        ("--loss focal --mixup 0.2", ["mixup: mixes targets, and loss 'focal' declares no soft_targets"]),
        ("--loss focal --loss-param gama=1", ["loss 'focal' has no setting 'gama'. Did you mean 'gamma'?"]),
        ("--mixup 1 --cutmix 1", ["cutmix: cannot be used with another that mixes images: mixup and cutmix"]),
        ("--augment erase --erase 0.1", ["erase: is an operation of augment already"]),
        ("--class-weights 1,2", ["class_weights: must be 10 numbers, one for each class, got (1.0, 2.0)"]),
        ("--class-weights 1,-2", ["class_weights: must be balanced, or a number above 0 for each class"]),
        ("--mixup 0 --erase 2", ["mixup: must be above 0", "erase: must be at most 1"]),
        ("--mixup 1 --augment cutmix --class-weights 1,2", ["mixup: cannot be used", "class_weights: must be 10"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(
    options: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = write(tmp_path, "focal.py", FOCAL)
    assert main(["run", "--plugin", plugin, "--runs-dir", str(tmp_path / "runs"), *options.split()]) == 2
    told = capsys.readouterr().err
    assert all(line in told for line in lines), told
    assert not (tmp_path / "runs").exists()


def test_a_recommended_loss_brings_its_params_and_goes_with_them() -> None:
    from zoo.registry.settings import resolve_config

    wanted = {"loss": "focal", "loss_params": {"gamma": 1.0}}
    assert resolve_config(wanted, {}).loss_params == {"gamma": 1.0}
    assert resolve_config(wanted, {"loss": "zoo/cross-entropy", "label_smoothing": 0.1}).loss_params is None
    smoothed = {"label_smoothing": 0.1, "class_weights": "balanced"}
    other = resolve_config(smoothed, {"loss": "focal"})
    assert other.label_smoothing == 0 and other.class_weights is None


def test_auxiliary_logits_count_by_their_weights(tmp_path: Path) -> None:
    result = run(tmp_path, model="declared", plugins=[write(tmp_path, "aux_net.py", AUXILIARY)])
    images, targets = zoo.load_dataset("shapes", params=SMALL).train
    torch.manual_seed(42)
    body = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU())
    main_head, other = nn.Linear(16, 10), nn.Linear(16, 10)
    model = nn.ModuleList([body, main_head, other])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(EPOCHS):
        for indices in epoch_order(len(targets), 42, epoch).split(SIZE):
            optimizer.zero_grad()
            features = body(images[indices] / 255)
            loss = functional.cross_entropy(main_head(features), targets[indices])
            (loss + 0.3 * functional.cross_entropy(other(features), targets[indices])).backward()
            optimizer.step()
    found = load_file(result.weights)
    assert torch.equal(found["body.1.weight"], body[1].weight)  # type: ignore[arg-type]
    assert torch.equal(found["heads.1.bias"], other.bias)


def test_auxiliary_logits_that_are_not_declared_are_refused_with_their_number(tmp_path: Path) -> None:
    plugin = write(tmp_path, "aux_net.py", AUXILIARY)
    with pytest.raises(zoo.ZooError, match=r"a tuple of 2, with 0 aux_weights declared.*aux_weights = \[0.3\]"):
        run(tmp_path, model="undeclared", plugins=[plugin])
    with pytest.raises(zoo.ZooError, match=r"a tuple of 3, with 1 aux_weights declared.*aux_weights = \[0.3, 0.3\]"):
        run(tmp_path, model="declared", params={"heads": 3}, plugins=[plugin])


def test_certificates_take_declared_auxiliary_logits_alone(tmp_path: Path) -> None:
    from zoo.checks.plugin import check_plugin

    certificate = check_plugin(Path(write(tmp_path, "aux_net.py", AUXILIARY)), offline=True)
    failed = {(entry, found.check) for entry, found in certificate.list_findings("failed")}
    assert failed == {("model undeclared", "logits")}
    found = next(each for _, each in certificate.list_findings("failed"))
    assert "a tuple of 2, with 0 aux_weights declared" in found.seen
