"""The layout of images and kernels: which models have it by themselves, and that nothing else depends on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.models.flop import count_work
from zoo.models.layout import choose_format
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.repeat import write_command
from zoo.records.runs import read_record
from zoo.registry.decorators import SPEC_ATTRIBUTE
from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.small_resnet import SmallResNet
from zoo_plugins.models.tinyvgg import TinyVGG

CPU = torch.device("cpu")
GREY, COLOUR = (1, 28, 28), (3, 64, 64)
SMALL = {"train_size": 60, "test_size": 40}


class Patches(nn.Module):
    """A convolution that cuts an image into tokens, and a transformer that does the work."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 64, 16, stride=16)
        self.layers = nn.TransformerEncoderLayer(64, 4, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.layers(self.cut(images).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(tokens.mean(dim=1))
        return logits


class Viewing(nn.Module):
    """Counts on how the values lie: on view, or where they are in memory."""

    def __init__(self, look: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.look = nn.Conv2d(1, 8, 5, padding=2), look
        self.head = nn.Linear(8 * 144, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.look(self.convolution(images)).relu())
        return logits


def view(values: Tensor) -> Tensor:
    return values.view(len(values), -1)


def read_memory(values: Tensor) -> Tensor:
    return values.as_strided((len(values), values[0].numel()), (values[0].numel(), 1))


def small(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10))


MODELS: dict[str, tuple[str, tuple[int, ...], Callable[[], nn.Module]]] = {
    "tinyvgg": ("channels_last", GREY, lambda: TinyVGG(input_shape=GREY, num_classes=10, hidden_units=10)),
    "small-resnet": ("channels_last", GREY, lambda: SmallResNet(input_shape=GREY, num_classes=10)),
    "depthwise": (
        "channels_last",
        COLOUR,
        lambda: small(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 64, 1)),
    ),
    "heavy kernels": ("contiguous", (3, 8, 8), lambda: small(nn.Conv2d(3, 256, 3), nn.Conv2d(256, 256, 3))),
    "the same, larger images": ("channels_last", COLOUR, lambda: small(nn.Conv2d(3, 256, 3), nn.Conv2d(256, 256, 3))),
    "instance normalisation": ("contiguous", COLOUR, lambda: small(nn.Conv2d(3, 32, 3), nn.InstanceNorm2d(32))),
    "patches": ("contiguous", COLOUR, Patches),
    "baseline": ("contiguous", GREY, lambda: Baseline(input_shape=GREY, num_classes=10, hidden_units=10)),
    "one dimension": (
        "contiguous",
        (3, 64),
        lambda: nn.Sequential(nn.Conv1d(3, 32, 5), nn.Flatten(), nn.LazyLinear(10)),
    ),
    "view": ("contiguous", (1, 12, 12), lambda: Viewing(view)),
    "memory": ("contiguous", (1, 12, 12), lambda: Viewing(read_memory)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_layout_follows_from_the_layers(name: str) -> None:
    expected, shape, make = MODELS[name]
    torch.manual_seed(0)
    model = make()
    work = count_work(model, shape, CPU)
    before = {key: (value.clone(), value.stride()) for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    assert choose_format("auto", model, shape, work, CPU, trains=True) == expected
    assert choose_format("auto", model, shape, work, torch.device("meta"), trains=True) == "contiguous"
    assert choose_format("channels_last", model, shape, work, CPU, trains=True) == "channels_last"
    assert torch.equal(torch.get_rng_state(), generator) and model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key][0]) and value.stride() == before[key][1], key


class Watched(nn.Conv2d):
    """Notes for each batch whether inputs, kernels and outputs all have their channels last."""

    stage = ""
    seen: ClassVar[dict[str, list[bool]]] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        if len(inputs) > 20:  # else it is a trial, or a golden sample
            lies = [part.stride(1) == 1 for part in (inputs, self.weight, outputs)]
            self.seen.setdefault(f"{self.stage} {'training' if self.training else 'evaluation'}", []).append(all(lies))
        return outputs


@zoo.model(name="watched")
def watched(*, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    layers = [Watched(input_shape[0], 8, 3), nn.ReLU(), Watched(8, 8, 3), nn.MaxPool2d(4)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, num_classes))


@zoo.model(name="viewing")
def viewing(*, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    model = Viewing(view)
    model.head = nn.Linear(8 * 784, num_classes)
    return model


@pytest.fixture
def registry() -> zoo.Registry:
    found = zoo.Registry.discover()
    for model in (watched, viewing):
        found.add(*getattr(model, SPEC_ATTRIBUTE))
    return found


def test_all_that_runs_a_model_uses_its_layout_and_what_is_kept_does_not_depend_on_it(
    registry: zoo.Registry, tmp_path: Path
) -> None:
    where = {"runs_dir": tmp_path, "registry": registry}
    made = {}
    for layout in ("auto", "contiguous", "channels_last"):
        Watched.stage = layout
        made[layout] = zoo.run("local/watched", "shapes", epochs=1, memory_format=layout, dataset_params=SMALL, **where)
    for Watched.stage, layout in (("other", "contiguous"), ("same", "auto")):
        zoo.evaluate(made["auto"].run, memory_format=layout, **where)
    images = torch.randint(255, (25, 1, 28, 28), dtype=torch.uint8)
    Watched.stage = "predictor"
    ours = zoo.load(made["auto"].run, **where)(images)
    Watched.stage = "plain predictor"
    theirs = zoo.load(made["auto"].run, memory_format="contiguous", **where)(images)
    used = {stage: all(lies) for stage, lies in Watched.seen.items()}
    plain = {"contiguous training", "contiguous evaluation", "other evaluation", "plain predictor evaluation"}
    assert {stage for stage, lies in used.items() if not lies} == plain
    assert len(used) == 10
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)
    assert made["auto"].train_config["memory_format"] == "channels_last"
    assert made["auto"].metrics == made["channels_last"].metrics
    assert made["auto"].metrics == pytest.approx(made["contiguous"].metrics, abs=1e-3)
    started = [
        zoo.run("local/watched", "shapes", epochs=0, memory_format=layout, dataset_params=SMALL, **where)
        for layout in ("contiguous", "channels_last")
    ]
    digests = {read_metadata(run.weights, read_header(run.weights).metadata).digests["tensors"] for run in started}
    assert len(digests) == 1, "the bytes of the file depend on the layout"


def test_what_counts_on_how_its_values_lie_is_left_as_it_is(
    registry: zoo.Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = {"runs_dir": tmp_path, "registry": registry, "dataset_params": SMALL, "epochs": 1}
    with caplog.at_level("INFO", logger="zoo"):
        result = zoo.run("local/viewing", "shapes", **where)
    assert result.train_config["memory_format"] == "contiguous"
    assert "with the channels last the model does not compute the same: " in caplog.text and "view" in caplog.text
    with pytest.raises(zoo.ZooError, match="view"):
        zoo.run("local/viewing", "shapes", memory_format="channels_last", **where)


def test_a_run_is_repeated_with_the_layout_that_it_had(tmp_path: Path) -> None:
    where = {"dataset_params": SMALL, "epochs": 1, "runs_dir": tmp_path}
    chosen = zoo.run("tinyvgg", "shapes", **where)
    command = write_command(read_record(chosen.run / "run.json"))
    assert command is not None and "--memory-format channels_last" in command
    assert zoo.reproduce(chosen.run, runs_dir=tmp_path).grade == "BITWISE"
    older = zoo.run("tinyvgg", "shapes", memory_format="contiguous", **where)
    told = json.loads((older.run / "run.json").read_text(encoding="utf-8"))
    del told["train_config"]["memory_format"]
    (older.run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    again = zoo.reproduce(older.run, runs_dir=tmp_path)
    assert again.grade == "BITWISE" and again.changed == ()
    command = write_command(read_record(older.run / "run.json"))
    assert command is not None and "--memory-format contiguous" in command
