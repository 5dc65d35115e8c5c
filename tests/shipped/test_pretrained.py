"""Trained weights of torchvision and timm: their index, and what comes of files that a server of this machine has."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import sklearn.datasets
import torch
import torchvision
import weights_index
from PIL import Image
from test_catalogues import build_on_meta
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.registry.manifest import read_manifest
from zoo.registry.specs import WeightsSpec
from zoo.storage.folders import zoo_home

sys.path.insert(0, str(Path(__file__).parents[1]))
from weights_servers import Files, serve

PHOTO = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
PIXELS, LOGITS = 0.02, 0.01
"""How far inputs may be off, of values that range over about five, and logits as a share of their spread.

Pillow rounds between its two passes over an image, and its numbers have fewer digits than those of torch."""


@pytest.fixture
def server() -> Iterator[Files]:
    with serve() as files:
        yield files


def read_specs(library: str) -> dict[str, WeightsSpec]:
    path = weights_index.PLUGINS / library / "registry.toml"
    return {spec.name: spec for spec in read_manifest(path).specs if isinstance(spec, WeightsSpec)}


@pytest.mark.parametrize("library", weights_index.LIBRARIES)
def test_the_index_is_what_the_library_says(library: str) -> None:
    text = weights_index.read_weights(library)
    if f"{library} {weights_index.version(library).partition('+')[0]} has" in text:
        assert text == weights_index.make_part(library)
    specs = read_specs(library)
    assert list(specs) == sorted(specs) and len(specs) == int(re.match(r"# Weights: (\d+) of", text)[1])
    defaults = [(spec.model, spec.dataset) for spec in specs.values() if spec.default]
    assert len(defaults) == len(set(defaults)) and set(defaults) == {(s.model, s.dataset) for s in specs.values()}


def test_the_defaults_are_those_of_the_libraries() -> None:
    for model in ("resnet18", "resnet50", "mobilenet_v3_large", "regnet_y_16gf"):
        card = zoo.show(f"torchvision/{model}@imagenet")
        choice = torchvision.models.get_model_weights(model).DEFAULT.name.lower()
        assert card.facts[0].data["qualified_name"] == f"torchvision/{model}.{choice}"
    timm = import_module("timm")
    for model in ("resnet18", "mobilenetv4_conv_small", "vit_base_patch16_224"):
        card = zoo.show(f"timm/{model}@imagenet")
        tag = timm.get_pretrained_cfg(model).tag
        assert card.facts[0].data["qualified_name"] == f"timm/{model}.{tag}"
    assert "timm/vit_base_patch16_224.augreg_in21k:" in repr(zoo.show("timm/vit_base_patch16_224@imagenet-21k-goog"))


def test_listing_and_showing_import_no_library_and_connect_to_nothing() -> None:
    code = """
import socket, sys
from zoo.cli.main import cli
def refuse(*_):
    raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
for arguments in (
    ["list", "weights", "--search", "resnet18*"],
    ["show", "torchvision/resnet18@imagenet"],
    ["show", "timm/mobilenetv4_conv_small.e2400_r224_in1k"],
    ["list", "weights", "--search", "resnet18*", "--sort", "parameters"],
):
    cli(arguments, standalone_mode=False)
assert not {"torch", "torchvision", "timm", "zoo_plugins.timm.weights"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for told in ("torchvision/resnet18.imagenet1k_v1", "timm/resnet18.a1_in1k", "apache-2.0", "accuracy=0.69758"):
        assert told in done.stdout


# torchvision


def train_a_little(model: nn.Module, side: int = 64) -> nn.Module:
    """Give a new model statistics and logits like those of a trained one: the logits of two images differ."""
    torch.manual_seed(7)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, side, side))
        head = [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d)][-1]
        spread = model.eval()(torch.randn(8, 3, side, side)).std(dim=0).mean()
        head.weight.div_(spread)
    return model


def save_state(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


@pytest.fixture
def publish(server: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that serves a file as the weights of that name; torchvision's table has its address instead."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    before: list[tuple[Any, str]] = []

    def publish(name: str, content: bytes, digits: str = "") -> str:
        model, _, choice = name.partition(".")
        weights = torchvision.models.get_model_weights(model)[choice.upper()].value
        before.append((weights, weights.url))
        start = digits or hashlib.sha256(content).hexdigest()[:8]
        object.__setattr__(weights, "url", server.add(f"/models/{model}-{start}.pth", content))
        return f"/models/{model}-{start}.pth"

    yield publish
    for weights, url in reversed(before):
        object.__setattr__(weights, "url", url)


def build_theirs(name: str, **arguments: Any) -> tuple[nn.Module, Any]:
    model, _, choice = name.partition(".")
    weights = torchvision.models.get_model_weights(model)[choice.upper()]
    torch.manual_seed(1)
    return torchvision.models.get_model(model, weights=None, **arguments), weights


def compare_with_theirs(predictor: zoo.Predictor, model: nn.Module, transform: Any) -> None:
    """Check that zoo makes the library's inputs of a photograph, and its logits of them."""
    theirs = transform(Image.open(PHOTO).convert("RGB")).unsqueeze(0)
    (ours,) = predictor.inputs.make(PHOTO)
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() <= PIXELS * 5 and (ours - theirs).std() < PIXELS
    with torch.inference_mode():
        wanted, got = model.eval()(theirs), predictor.model(ours)
    assert wanted.std() > 0.1 and wanted.argmax() == got.argmax()
    assert (wanted - got).abs().max() <= LOGITS * (wanted.max() - wanted.min())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18.imagenet1k_v1", {}),
        ("shufflenet_v2_x0_5.imagenet1k_v1", {}),
        ("mobilenet_v3_small.imagenet1k_v1", {}),
        pytest.param("swin_t.imagenet1k_v1", {}, marks=pytest.mark.nightly),  # 224 pixels a side
    ],
)
def test_weights_of_torchvision_answer_as_torchvision_does(name: str, arguments: Any, publish: Any) -> None:
    model, weights = build_theirs(name, **arguments)
    train_a_little(model, 64 if name != "swin_t.imagenet1k_v1" else 224)
    content = save_state(model.state_dict())
    publish(name, content)
    predictor = zoo.load(f"torchvision/{name}", verify=True)
    compare_with_theirs(predictor, model, weights.transforms())
    published = predictor.weights.published
    assert published is not None and published.sha256 == hashlib.sha256(content).hexdigest()
    assert published.source == weights.url and predictor.class_names == tuple(weights.meta["categories"])
    assert "torchvision" in predictor.weights.versions


def test_auxiliary_heads_are_left_out_and_inputs_are_scaled_as_the_weights_need(publish: Any) -> None:
    name = "googlenet.imagenet1k_v1"
    model, weights = build_theirs(name, aux_logits=True, init_weights=False, transform_input=True)
    train_a_little(model, 96)
    publish(name, save_state(model.state_dict()))
    predictor = zoo.load("torchvision/googlenet@imagenet", verify=True)
    assert not any("aux" in key for key in predictor.model.state_dict())
    assert predictor.params["transform_input"] is True
    compare_with_theirs(predictor, model, weights.transforms())


def test_names_of_older_versions_are_read_as_torchvision_reads_them(publish: Any) -> None:
    name = "densenet121.imagenet1k_v1"
    model, weights = build_theirs(name)
    train_a_little(model)
    state = {key: value for key, value in model.state_dict().items() if "num_batches_tracked" not in key}
    older = {re.sub(r"(denselayer\d+)\.(norm|conv)([12])\.", r"\1.\2.\3.", key): value for key, value in state.items()}
    assert set(older) != set(state)
    publish(name, save_state(older))
    compare_with_theirs(zoo.load(f"torchvision/{name}"), model, weights.transforms())


def test_the_commands_of_a_day(publish: Any, capsys: pytest.CaptureFixture[str], server: Files) -> None:
    name = "shufflenet_v2_x0_5.imagenet1k_v1"
    model, weights = build_theirs(name)
    train_a_little(model)
    publish(name, save_state(model.state_dict()))
    reference = "torchvision/shufflenet_v2_x0_5@imagenet"
    assert main(["predict", reference, str(PHOTO)]) == 0
    out, err = capsys.readouterr()
    with torch.inference_mode():
        best = model(weights.transforms()(Image.open(PHOTO)).unsqueeze(0)).argmax()
    assert weights.meta["categories"][int(best)] in out and f"fetching the weights torchvision/{name}" in err
    # From here on nothing is fetched, and the library is not asked.
    server.faults.update(dict.fromkeys(server.files, "gone"))
    asked = len(server.asked)
    assert main(["verify", reference, "--offline"]) == 0
    assert main(["show", reference]) == 0
    out, err = capsys.readouterr()
    assert "accuracy=0.60552" in out and "crop=[224, 224]" in out and "rounded" in out
    small = ["--dataset-param", "train_size=40", "--dataset-param", "test_size=20"]
    training = ["--epochs", "1", "--batch-size", "20", "--threads", "1"]
    assert main(["run", "--init", reference, "--dataset", "shapes", *small, *training]) == 0
    out, err = capsys.readouterr()
    assert (
        "kept 336 of 338 tensors; new: fc.weight, fc.bias" in err and "resize 256 bilinear, rounded, channels 3" in err
    )
    assert main(["show", "@last"]) == 0
    out, _ = capsys.readouterr()
    assert f"torchvision/{name}-" in out and "mean=[0.485, 0.456, 0.406]" in out
    assert len(server.asked) == asked


SMALL = "shufflenet_v2_x0_5.imagenet1k_v1"


def nothing_is_kept() -> bool:
    left = [*(zoo_home() / "weights").rglob("*"), *Path(os.environ["TORCH_HOME"]).rglob("*")]
    return not [path for path in left if path.is_file()]


def refuse(capsys: pytest.CaptureFixture[str], code: int, *options: str) -> str:
    """Verify the small weights, which fails with a code; return the one line that says why."""
    assert main(["verify", f"torchvision/{SMALL}", *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("cut", "invalid hash value"),
        ("changed", "invalid hash value"),
        ("page", "invalid hash value"),
        ("gone", "HTTP Error 404"),
    ],
)
def test_a_server_that_gives_something_else_leaves_nothing(
    fault: str, said: str, publish: Any, server: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    path = publish(SMALL, save_state(build_theirs(SMALL)[0].state_dict()))
    server.faults[path] = fault
    line = refuse(capsys, 6)
    assert f"cannot fetch {server.address}{path}" in line and said in line and " yourself" in line
    assert nothing_is_kept()
    del server.faults[path]
    assert main(["verify", f"torchvision/{SMALL}"]) == 0


def test_offline_without_the_file_connects_to_nothing(
    publish: Any, server: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    path = publish(SMALL, b"weights")
    line = refuse(capsys, 6, "--offline")
    assert "offline" in line and "Run without --offline" in line and path in line
    assert server.asked == [] and nothing_is_kept()
    # Put there by hand, it is used offline.
    content = save_state(build_theirs(SMALL)[0].state_dict())
    path = publish(SMALL, content)
    file = Path(os.environ["TORCH_HOME"], "hub", "checkpoints", Path(path).name)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert main(["verify", f"torchvision/{SMALL}", "--offline"]) == 0
    assert server.asked == []


def test_a_file_that_was_changed_since_is_refused(publish: Any, capsys: pytest.CaptureFixture[str]) -> None:
    content = save_state(build_theirs(SMALL)[0].state_dict())
    file = Path(os.environ["TORCH_HOME"], "hub", "checkpoints", Path(publish(SMALL, content)).name)
    file.parent.mkdir(parents=True)
    file.write_bytes(content[:-1])
    assert "Delete it to have it fetched again" in refuse(capsys, 4)


class Evil:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (self.marker, "w")


@pytest.mark.parametrize("kind", ["code", "text", "short"])
def test_a_pickle_that_is_no_state_dict_is_not_run(
    kind: str, publish: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    content = save_state({"fc.weight": Evil(str(marker))})
    publish(SMALL, {"code": content, "text": b"hello", "short": save_state({"a": torch.zeros(9)})[:300]}[kind])
    assert "holds something else than tensors" in refuse(capsys, 4)
    assert not marker.exists() and not list((zoo_home() / "weights").rglob("*.safetensors"))


@pytest.mark.parametrize("kind", ["missing", "shape", "infinite"])
def test_tensors_of_another_model_are_refused_by_name(
    kind: str, publish: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(build_theirs(SMALL)[0].state_dict())
    if kind == "missing":
        del state["fc.bias"]
    else:
        state["fc.bias"] = torch.zeros(7) if kind == "shape" else torch.full((1000,), torch.inf)
    publish(SMALL, save_state(state))
    line = refuse(capsys, 5)
    assert "plugin 'torchvision'" in line and "fc.bias" in line


def test_weights_that_the_library_does_not_have() -> None:
    registry = zoo.Registry.discover()
    for library, needed in (("torchvision", "resnet18.imagenet1k_v9"), ("timm", "resnet18.of_tomorrow")):
        loader = f"zoo_plugins.{library}.weights:load"
        spec = zoo.WeightsSpec(name=needed, model=f"{library}/resnet18", dataset="imagenet", loader=loader)
        registry.add(spec, plugin=f"{library}-next")
        with pytest.raises(zoo.UsageError, match=rf"{library} [\d.]+\S* has no weights '{needed}'.* pip install -U"):
            zoo.load(f"{library}-next/{needed}", registry=registry)


# timm


TINY = "timm/test_resnet.r160_in1k"


def call(python: str, server: Files, folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run zoo with this server as the hub, which huggingface_hub reads from the environment when it is imported."""
    settings = {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "hub"), "TORCH_HOME": str(folder / "torch")}
    command = [python, *arguments] if arguments[0] == "-c" else [python, "-m", "zoo", *arguments]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    timm = import_module("timm")
    torch.manual_seed(3)
    return train_a_little(timm.create_model("test_resnet", pretrained=False), 160)


@pytest.fixture(scope="module")
def tiny_file(tiny: nn.Module) -> bytes:
    return safetensors.torch.save({name: value.contiguous() for name, value in tiny.state_dict().items()})


def test_weights_of_timm_answer_as_timm_does(
    tiny: nn.Module, tiny_file: bytes, server: Files, warm_python: str, tmp_path: Path
) -> None:
    server.add_to_hub(TINY, "model.safetensors", tiny_file)
    out = call(warm_python, server, tmp_path, "predict", TINY, str(PHOTO), "--top", "3").stdout
    predictor = zoo.load(TINY, offline=True)  # it is kept, and no hub is asked
    timm = import_module("timm")
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=tiny, pretrained_cfg=find(TINY)))
    compare_with_theirs(predictor, tiny, transform)
    names = timm.data.ImageNetInfo().label_descriptions()
    with torch.inference_mode():
        best = tiny(transform(Image.open(PHOTO)).unsqueeze(0)).argmax()
    assert out.splitlines()[0].split("  ")[1].startswith(names[int(best)][:10]) or names[int(best)] in out
    published = predictor.weights.published
    assert published is not None and published.sha256 == hashlib.sha256(tiny_file).hexdigest()
    assert published.source == f"{server.address}/{TINY}/resolve/{'ab' * 20}/model.safetensors"
    assert (published.license, published.homepage) == ("apache-2.0", f"https://huggingface.co/{TINY}")
    assert predictor.class_names == tuple(names)


def find(name: str) -> dict[str, Any]:
    config: dict[str, Any] = import_module("timm").get_pretrained_cfg(name.partition("/")[2]).to_dict()
    return config


@pytest.mark.parametrize("fault", ["cut", "changed", "page", "gone"])
def test_a_hub_that_gives_something_else_leaves_no_weights(
    fault: str, tiny_file: bytes, server: Files, warm_python: str, tmp_path: Path
) -> None:
    path = server.add_to_hub(TINY, "model.safetensors", tiny_file)
    server.faults[path] = fault
    done = call(warm_python, server, tmp_path, "verify", TINY, code=6)
    assert done.stdout == "" and "test_resnet.r160_in1k" in done.stderr.splitlines()[-1]
    assert not list((zoo_home() / "weights").rglob("*.safetensors"))


def test_timm_offline_connects_to_nothing(tiny_file: bytes, server: Files, warm_python: str, tmp_path: Path) -> None:
    path = server.add_to_hub(TINY, "model.safetensors", tiny_file)
    line = call(warm_python, server, tmp_path, "verify", TINY, "--offline", code=6).stderr.splitlines()[-1]
    assert "offline" in line and line.endswith("Run once without --offline") and server.asked == []
    fetch = "import sys, huggingface_hub as hub; hub.hf_hub_download(*sys.argv[1:])"
    call(warm_python, server, tmp_path, "-c", fetch, TINY, "model.safetensors")
    assert f"GET {path}" in server.asked
    server.asked.clear()
    call(warm_python, server, tmp_path, "verify", TINY, "--offline")
    assert server.asked == []


@pytest.mark.parametrize("kind", ["tensors", "code"])
def test_a_hub_with_a_pickle_alone(kind: str, tiny: nn.Module, server: Files, warm_python: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    more = {"evil": Evil(str(marker))} if kind == "code" else {}
    server.add_to_hub(TINY, "pytorch_model.bin", save_state({**tiny.state_dict(), **more}))
    code = 4 if kind == "code" else 0
    done = call(warm_python, server, tmp_path, "verify", TINY, code=code)
    assert not marker.exists()
    assert ("holds something else than tensors" in done.stderr) == (kind == "code")


def test_two_processes_fetch_from_the_hub_once(
    tiny_file: bytes, server: Files, warm_python: str, tmp_path: Path
) -> None:
    path = server.add_to_hub(TINY, "model.safetensors", tiny_file)
    settings = {**os.environ, "HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "hub")}
    command = [warm_python, "-m", "zoo", "verify", TINY]
    both = [subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in "ab"]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and outputs[0] == outputs[1]
    assert server.asked.count(f"GET {path}") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(read_specs("timm"))[::120])
def test_timm_builds_the_models_of_the_catalogue_for_its_weights(name: str) -> None:
    timm = import_module("timm")
    config = timm.get_pretrained_cfg(name)
    factory = getattr(import_module("zoo_plugins.timm.models"), name.partition(".")[0])
    ours = build_on_meta(lambda **_: factory(input_shape=config.input_size, num_classes=config.num_classes), ())
    theirs = build_on_meta(lambda **_: timm.create_model(name, pretrained=False), ())
    assert str(ours) == str(theirs)
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
