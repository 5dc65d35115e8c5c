"""The catalogues: `torchvision/NAME` and `timm/NAME`. Run as a script, this writes the models of their manifests anew.

The script builds every model and runs it on two images, in training and in evaluation, on torch's meta device: shapes
are computed as in earnest, values are not. For timm that takes the better part of an hour on two cores. The data sets
and weights that follow the models stay as they are; weights_index.py writes the weights.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

import zoo
from zoo.records.header import read_header
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.factories import build_model
from zoo.registry.manifest import read_manifest
from zoo.registry.params import resolve_params
from zoo.registry.specs import ModelSpec
from zoo.training import recording
from zoo_plugins.datasets.fashionmnist import CLASS_NAMES, fashionmnist

LIBRARIES = ("torchvision", "timm")
PLUGINS = Path(__file__).parents[2] / "plugins" / "zoo_plugins"
SIZES = (28, 32, 64, 96, 224)
HEADER = """\
# All {count} classification models of {library} {version}, with random weights.
# Written by `python tests/shipped/test_catalogues.py`.
# A side is "*" where the model takes images of {sizes} pixels and uses all of them, else the model's own.

schema = 1
qualified_only = true
"""
# These give features of patches, whatever the number of classes.
ENCODERS = {
    *{"deepseek_vit_412m_enc", "gemma4_vit_167m_enc", "gemma4_vit_570m_enc", "mobilenetv5_300m_enc"},
    *{"qwen3_vit_306m_enc", "qwen3_vit_416m_enc", "qwen3_vit_88m_enc"},
}


def manifest_path(library: str) -> Path:
    return PLUGINS / library / "registry.toml"


def installed_version(library: str) -> str:
    return version(library).partition("+")[0]


def list_names(library: str) -> list[str]:
    """Return the names of the installed library's models."""
    if library == "timm":
        return sorted(set(import_module("timm").list_models()) - ENCODERS)
    models = import_module("torchvision").models
    return sorted(models.list_models(module=models))


def own_size(library: str, name: str) -> tuple[int, int]:
    """Return height and width of the images that a model was made for."""
    if library == "timm":
        _, height, width = import_module("timm").get_pretrained_cfg(name).input_size
        return height, width
    weights = import_module("torchvision").models.get_model_weights(name)
    side = min(choice.transforms().crop_size[0] for choice in weights)
    return side, side


def build_on_meta(factory: Callable[..., nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """Build a model for 7 classes whose tensors have shapes and no values."""
    try:
        with torch.device("meta"):
            return factory(input_shape=shape, num_classes=7)
    except NotImplementedError:  # it computes its own layout with tensors
        return build_without_values(factory, shape).to("meta")


def build_without_values(factory: Callable[..., nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """Build a model for 7 classes without drawing its parameters; all have one and the same value, stored once."""
    draws = dict.fromkeys(("normal_", "uniform_", "erfinv_"), leave)
    with mock.patch.multiple(torch.Tensor, **draws), mock.patch.object(nn.init, "trunc_normal_", leave):
        model = factory(input_shape=shape, num_classes=7)
    for parameter in model.parameters():
        parameter.data = torch.full((), 0.01, dtype=parameter.dtype).expand(parameter.shape)
    return model


def leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


def check_logits(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Check a model's logits for two images, in training and in evaluation."""
    images = torch.zeros(2, *shape, device=next(model.parameters()).device)
    for training in (True, False):
        with torch.no_grad():
            logits = model.train(training)(images)
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if found != (2, 7):
            raise ValueError(f"expected logits of (2, 7), got {found}")


def find_pattern(library: str, name: str) -> list[int | str] | str:
    """Return the pattern of a model's inputs, or why it cannot be used."""
    factory = getattr(import_module(f"zoo_plugins.{library}.models"), name)
    own = own_size(library, name)
    for channels in (1, 3) if library == "timm" else (3,):
        model, problem = try_model(factory, (channels, *own))
        if model is not None:
            break
    else:
        return problem
    first: int | str = "*" if channels == 1 else 3
    for side in SIZES:
        shape = (channels, side, side)
        tried, _ = try_model(factory, shape, None if depends_on_size(library, name) else model)
        # The other sides are multiples of 32.
        if tried is None or (side in (28, 32) and not uses_last_pixel(factory, shape)):
            return [first, *own]
    return [first, "*", "*"]


def try_model(
    factory: Callable[..., nn.Module], shape: tuple[int, ...], model: nn.Module | None = None
) -> tuple[nn.Module | None, str]:
    """Return the model when it works with images of a shape, else None and why not; it is built unless it is given."""
    try:
        model = build_on_meta(factory, shape) if model is None else model
        check_logits(model, shape)
    except Exception as error:  # noqa: BLE001 libraries raise anything
        return None, f"{type(error).__name__}: {error}"
    return model, ""


def depends_on_size(library: str, name: str) -> bool:
    """Tell whether a model is built for one size of image."""
    return library == "timm" and bool(import_module("timm").get_pretrained_cfg(name).fixed_input_size)


def uses_last_pixel(factory: Callable[..., nn.Module], shape: tuple[int, ...]) -> bool:
    """Tell whether the last pixel counts: of 28 pixels, patches of 16 see 16. NaN reaches all that depends on it."""
    model = build_without_values(factory, shape).eval()
    image = torch.zeros(1, *shape)
    with torch.no_grad():
        if not model(image).isfinite().all():
            raise ValueError("the values of build_without_values are not fit for this model")
        image[..., -1, -1] = torch.nan
        return bool(model(image).isnan().any())


def make_manifest(library: str) -> str:
    """Return the manifest of a library and print which models are left out."""
    names = list_names(library)
    with ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        patterns = dict(zip(names, pool.map(partial(find_pattern, library), names, chunksize=4), strict=True))
    for name, reason in patterns.items():
        if isinstance(reason, str):
            print(f"{library}/{name} is left out: {reason}")
    usable = {name: pattern for name, pattern in patterns.items() if not isinstance(pattern, str)}
    sizes = ", ".join(map(str, SIZES[:-1])) + f" and {SIZES[-1]}"
    values = {"library": library, "version": installed_version(library), "sizes": sizes}
    parts = [HEADER.format(count=len(usable), **values)]
    for name, pattern in usable.items():
        shape = ", ".join(f'"{size}"' if size == "*" else str(size) for size in pattern)
        adapt = '["channels", "resize"]' if pattern[0] == 3 else '["resize"]'
        lines = (
            f"[models.{name}]",
            f'factory = "zoo_plugins.{library}.models:{name}"',
            f"input_shape = [{shape}]",
            f"adapt = {adapt}",
        )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


def models_of(library: str) -> Any:
    return import_module(f"zoo_plugins.{library}.models")


def read_specs(library: str) -> dict[str, ModelSpec]:
    specs = read_manifest(manifest_path(library)).specs
    return {spec.name: spec for spec in specs if isinstance(spec, ModelSpec)}


def build(name: str, shape: tuple[int, ...], **params: Any) -> nn.Module:
    """Build a model for 7 classes as a run does, from its name and params as a command gives them."""
    entry = zoo.Registry.discover().get("model", name)
    values = resolve_params(entry.spec, getattr(models_of(entry.plugin.name), entry.name), params)
    return build_model(entry, input_shape=shape, num_classes=7, params=values)


def test_a_manifest_has_the_models_of_its_library(library):
    first = manifest_path(library).read_text(encoding="utf-8").partition("\n")[0]
    count, made_from = re.match(rf"# All (\d+) .*models of {library} ([\d.]+), ", first).groups()
    specs = read_specs(library)
    assert list(specs) == sorted(specs) and len(specs) == int(count)
    assert [spec.factory for spec in specs.values()] == [f"zoo_plugins.{library}.models:{name}" for name in specs]
    there = list_names(library)
    if made_from == installed_version(library):
        assert list(specs) == there
    for name in set(specs) - set(there):
        with pytest.raises(zoo.UsageError, match=f"{library} .* has no .*model '{name}'"):
            getattr(models_of(library), name)


def test_no_model_has_the_name_of_something_else_in_its_module(library):
    assert not set(vars(models_of(library))) & set(read_specs(library))


def test_listing_and_showing_import_no_library(library):
    code = f"""
import sys
from zoo.cli.main import cli
for arguments in (["list", "models", "--search", "resnet*"], ["show", "{library}/resnet18"]):
    cli(arguments, standalone_mode=False)
assert not {{"torch", "torchvision", "timm"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in (f"{library}/resnet18", f"{library}/resnet152", f"{library}.models:resnet18"):
        assert name in done.stdout


def test_a_catalogue_is_not_asked_for_bare_names():
    with pytest.raises(zoo.UnknownNameError, match=r"'resnet18'.* 'timm/resnet18'"):
        zoo.Registry.discover().get("model", "resnet18")
    assert "timm/resnet18" not in zoo.list_models()
    assert {"timm/resnet18", "torchvision/resnet18"} <= set(zoo.list_models("resnet18"))


def sample(library: str, every: int) -> list[tuple[str, str]]:
    return [(library, name) for name in list(read_specs(library))[::every]]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), [*sample("torchvision", 5), *sample("timm", 80)])
def test_models_take_what_they_declare_without_any_network(library, name, monkeypatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    channels, *sides = read_specs(library)[name].input_shape
    shape = (1 if channels == "*" else channels, *(28 if side == "*" else side for side in sides))
    check_logits(build_on_meta(getattr(models_of(library), name), shape), shape)


@pytest.mark.parametrize(
    ("name", "adapted"),
    [
        ("torchvision/mobilenet_v3_small", ["channels 1 -> 3"]),
        ("torchvision/squeezenet1_1", ["channels 1 -> 3"]),
        ("torchvision/googlenet", ["channels 1 -> 3"]),
        ("timm/test_resnet", []),
        ("timm/test_efficientnet", []),
        ("timm/test_vit", ["size 28x28 -> 160x160"]),
    ],
)
def test_small_models_take_grey_images_as_they_declare(name, adapted):
    spec = zoo.Registry.discover().get("model", name).spec
    preprocess, notes = adapt_preprocess(spec, "grey", (1, 28, 28), zoo.Preprocess())
    assert notes == adapted
    inputs = preprocess(torch.randint(256, (2, 1, 28, 28), dtype=torch.uint8))
    model = build(name, tuple(inputs.shape[1:]))
    for training in (True, False):
        assert model.train(training)(inputs).shape == (2, 7)


@pytest.mark.parametrize("name", ["torchvision/inception_v3", "torchvision/googlenet"])
def test_auxiliary_logits_are_left_out(name):
    with pytest.raises(zoo.PluginError, match="aux_logits: zoo decides it"):
        build(name, (3, 299, 299), aux_logits="true")
    with torch.device("meta"):
        assert not any("aux" in part.lower() for part, _ in build(name, (3, 299, 299)).named_modules())


@pytest.mark.parametrize(
    ("name", "side", "notes"),
    [
        ("torchvision/vit_b_16", 224, ["channels 1 -> 3", "size 28x28 -> 224x224"]),
        ("timm/vit_base_patch16_224", 224, ["size 28x28 -> 224x224"]),
    ],
)
def test_models_of_one_size_have_the_images_resized(name, side, notes):
    spec = zoo.Registry.discover().get("model", name).spec
    preprocess, adapted = adapt_preprocess(spec, "grey", (1, 28, 28), zoo.Preprocess())
    assert adapted == notes and preprocess.resize == (side, side)
    assert preprocess(torch.zeros(1, 1, 28, 28)).shape[2:] == (side, side)


def test_params_from_the_command_line_become_what_they_mean():
    for dropout in ("0.25", 0.25):
        assert build("torchvision/squeezenet1_1", (3, 28, 28), dropout=dropout).classifier[0].p == 0.25
    model = build("timm/resnet18", (1, 28, 28), layers="[1, 1, 1, 1]", global_pool="max", drop_rate="0.5")
    assert [len(model.layer1), len(model.layer4)] == [1, 1]
    assert model.global_pool.pool_type == "max" and model.drop_rate == 0.5
    assert build("timm/resnet18", (1, 28, 28), zero_init_last="false").layer1[0].bn2.weight.min() == 1
    assert build("timm/resnet18", (1, 28, 28), zero_init_last="true").layer1[0].bn2.weight.max() == 0


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("torchvision/resnet18", {"depth": "7"}, "torchvision's resnet18 does not take depth=7: .*'depth'"),
        ("torchvision/convnext_tiny", {"depth": "7"}, "torchvision's convnext_tiny does not take depth"),
        ("torchvision/mobilenet_v3_small", {"depth": "7"}, "torchvision's mobilenet_v3_small does not take depth"),
        ("torchvision/resnet18", {"weights": "DEFAULT"}, "weights: zoo decides it"),
        ("timm/resnet18", {"depth": "7"}, "timm's resnet18 does not take depth=7: .*'depth'"),
        ("timm/resnet18", {"act_layer": "steps"}, "timm's resnet18 does not take act_layer='steps'"),
        ("timm/resnet18", {"pretrained": "true"}, "pretrained: zoo decides it"),
        ("timm/resnet18", {"checkpoint_path": "x.pt"}, "checkpoint_path: zoo decides it"),
    ],
)
def test_params_that_a_library_refuses_are_the_users(name, params, message, tmp_path):
    with pytest.raises(zoo.UsageError, match=message) as caught:
        zoo.run(name, "shapes", params=params, dataset_params=SMALL, epochs=0, runs_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_params_that_only_some_models_know_are_theirs():
    narrow = build("torchvision/mobilenet_v3_small", (3, 28, 28), width_mult="0.5")
    assert sum(map(torch.numel, narrow.parameters())) < 700_000


def test_a_model_that_the_library_lacks(library):
    registry = zoo.Registry.discover()
    spec = ModelSpec(name="newer", factory=f"zoo_plugins.{library}.models:resnet18_of_tomorrow")
    registry.add(spec, plugin="tomorrow")
    with pytest.raises(zoo.ZooError) as caught:
        zoo.run("tomorrow/newer", "shapes", registry=registry)
    number = re.escape(version(library))
    found = str(caught.value)
    assert re.search(rf"{library} {number}\S* has no .*model 'resnet18_of_tomorrow'", found)
    assert f"pip install -U {library}" in found and "\n" not in found


def test_timm_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "timm/resnet18" in zoo.list_models("timm/resnet18")
    with pytest.raises(zoo.ZooError, match=r"needs timm.* not installed.* pip install 'zoo-torch\[timm\]'") as caught:
        zoo.run("timm/resnet18", "shapes")
    assert "\n" not in str(caught.value)


SMALL = {"train_size": 64, "test_size": 32}


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Return a list of the models that runs save, as they are in memory."""
    models: list[nn.Module] = []
    save = recording.save_proven

    def note(path: Path, model: nn.Module, *facts: Any) -> None:
        models.append(model)
        save(path, model, *facts)

    monkeypatch.setattr(recording, "save_proven", note)
    return models


def check_fresh_process(python: str, model: nn.Module, weights: Path, inputs: torch.Tensor) -> None:
    """Check that a new process loads weights to a model that gives the same outputs, bit for bit."""
    code = """
import sys, torch, zoo
torch.set_num_threads(1)
weights, inputs, outputs = sys.argv[1:]
with torch.inference_mode():
    torch.save(zoo.load_model(weights)(torch.load(inputs)), outputs)
"""
    files = [weights.with_name(name) for name in ("inputs.pt", "outputs.pt")]
    torch.save(inputs, files[0])
    subprocess.run([python, "-c", code, weights, *files], check=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        expected = model.eval()(inputs)
    torch.set_num_threads(threads)
    assert torch.equal(torch.load(files[1]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "adapted", "channels"), [("torchvision/resnet18", ["channels 1 -> 3"], 3), ("timm/resnet18", [], 1)]
)
def test_resnet18_trains_on_shapes_and_comes_back(name, adapted, channels, saved, tmp_path, caplog, warm_python):
    caplog.set_level(logging.INFO, logger="zoo")
    result = zoo.run(name, "shapes", epochs=1, threads=1, dataset_params=SMALL, runs_dir=tmp_path)
    assert result.history[0]["train"]["loss"] > 0
    assert [record.args[1] for record in caplog.records if "adapted" in record.msg] == adapted
    assert json.loads((result.run / "run.json").read_text())["adapted"] == adapted
    metadata = read_header(result.weights).metadata
    assert (metadata["model"], metadata["plugin"]["name"]) == ("resnet18", name.partition("/")[0])
    assert metadata["input_shape"] == [channels, 28, 28]
    assert metadata["preprocess"].get("channels") == (3 if adapted else None)
    check_fresh_process(warm_python, saved[0], result.weights, torch.rand(5, channels, 28, 28))


def some_clothes(*, root: Path) -> zoo.DataSplits:
    """Return the first images of Fashion-MNIST."""
    splits = fashionmnist(root=root)
    train, test = (tuple(part[:size] for part in split) for split, size in ((splits.train, 300), (splits.test, 100)))
    return zoo.DataSplits(train=train, test=test, class_names=CLASS_NAMES)


@pytest.mark.slow
def test_resnet18_trains_on_clothes_and_comes_back(fashionmnist_root, saved, tmp_path, warm_python):
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="some-clothes", factory=some_clothes, input_shape=(1, 28, 28)))
    where = {"data_dir": fashionmnist_root, "runs_dir": tmp_path, "registry": registry}
    result = zoo.run("torchvision/resnet18", "some-clothes", epochs=1, threads=1, **where)
    assert result.history[0]["train"]["loss"] > 0
    assert read_header(result.weights).metadata["preprocess"]["channels"] == 3
    clothes = some_clothes(root=fashionmnist_root).test[0][:8]
    check_fresh_process(warm_python, saved[0], result.weights, zoo.Preprocess(channels=3)(clothes))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or LIBRARIES:
        text = manifest_path(wanted).read_text(encoding="utf-8")
        _, kept = re.split(r"\n(?=# (?:The data sets of|Weights:) )", text, maxsplit=1)
        text = f"{make_manifest(wanted)}\n{kept}"
        manifest_path(wanted).write_text(text, encoding="utf-8", newline="\n")
